#include <cublas_v2.h>
#include <cudnn.h>

#include <cstdlib>
#include <iterator>
#include <string>

#include "tests/cuda/emulation_test.h"

using namespace sparknet::emulation;

using sparknet::kernels::cuda::Arithmetic;
using sparknet::kernels::cuda::Bf16;

namespace {

/// Of the factors and of what they are multiplied to.
template <class F, class P>
struct Types {
  using Factor = F;
  using Product = P;
};

template <class T>
constexpr cudaDataType kType = sizeof(T) == 8   ? CUDA_R_64F
                               : sizeof(T) == 4 ? CUDA_R_32F
                                                : CUDA_R_16BF;

void forbid_sums_in_bf16(cublasHandle_t handle) {
  CHECK(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) == CUBLAS_STATUS_SUCCESS);
}

using Doubles = Types<double, double>;
using Floats = Types<float, float>;
using Halves = Types<Bf16, Bf16>;
using HalvesToFloats = Types<Bf16, float>;

}  // namespace

TEST_CASE_TEMPLATE("products", Of, Floats, Doubles, Halves, HalvesToFloats) {
  using T = typename Of::Factor;
  using C = typename Of::Product;
  using A = Arithmetic<T>;
  constexpr bool kWide = sizeof(T) == 8;
  const cudaDataType type = kType<T>;
  const cublasComputeType_t compute = kWide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  Stream stream;
  DeviceArray<char> workspace(1 << 20);
  CHECK(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSetWorkspace(handle, workspace.get() + 1, 1000) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasSetWorkspace(handle, workspace.get(), 1 << 20) == CUBLAS_STATUS_SUCCESS);
  forbid_sums_in_bf16(handle);

  struct {
    int m, n, k;
  } const sizes[] = {{1, 1, 1}, {5, 3, 0}, {4, 8, 16}, {13, 9, 300}, {33, 70, 65}};
  for (const auto& size : sizes) {
    for (int variant = 0; variant < 16; ++variant) {
      const bool transposed_a = variant & 1, transposed_b = variant & 2;
      const int count = variant & 4 ? 3 : 1;
      const A alpha = A(0.5), beta = variant & 8 ? A(2) : A(0);
      const int pitch_a = (transposed_a ? size.k : size.m) + 2, pitch_b = (transposed_b ? size.n : size.k) + 1;
      const int pitch_c = size.m + 3;
      const int next_a = pitch_a * (transposed_a ? size.m : size.k) + 5;
      const int next_b = pitch_b * (transposed_b ? size.k : size.n) + 7, next_c = pitch_c * size.n + 1;
      const auto numbers = [&](int next) { return static_cast<std::size_t>(next * count); };
      const std::vector<T> a = random_numbers<T>(numbers(next_a), 1), b = random_numbers<T>(numbers(next_b), 2);
      std::vector<C> c = random_numbers<C>(numbers(next_c), 3);
      std::vector<double> expected(c.begin(), c.end());
      for (int i = 0; i < count; ++i) {
        for (int column = 0; column < size.n; ++column) {
          for (int row = 0; row < size.m; ++row) {
            double sum = 0;
            for (int k = 0; k < size.k; ++k) {
              const int of_a = i * next_a + (transposed_a ? k + row * pitch_a : row + k * pitch_a);
              const int of_b = i * next_b + (transposed_b ? column + k * pitch_b : k + column * pitch_b);
              sum += double{a[static_cast<std::size_t>(of_a)]} * double{b[static_cast<std::size_t>(of_b)]};
            }
            const auto at = static_cast<std::size_t>(i * next_c + row + column * pitch_c);
            expected[at] = double{alpha} * sum + double{beta} * expected[at];
            if (beta == A(0)) c[at] = C(NAN);
          }
        }
      }
      const DeviceArray<T> on_a(a), on_b(b);
      const DeviceArray<C> on_c(c);
      A factors[] = {alpha, beta};
      CHECK(
          cublasGemmStridedBatchedEx(
              handle,
              transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N,
              transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N,
              size.m,
              size.n,
              size.k,
              &factors[0],
              on_a.get(),
              type,
              pitch_a,
              next_a,
              on_b.get(),
              type,
              pitch_b,
              next_b,
              &factors[1],
              on_c.get(),
              kType<C>,
              pitch_c,
              next_c,
              count,
              compute,
              CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
      factors[0] = factors[1] = A(NAN);  // they have been read
      check_close(on_c.read(), expected);
    }
  }

  // Wrong calls, and what lets TF32 in.
  const DeviceArray<T> a(std::vector<T>{T(1.0001)});
  const DeviceArray<C> c(std::vector<C>{C(0.0)});
  const A one = 1, zero = 0;
  const double square = static_cast<double>(T(1.0001)) * static_cast<double>(T(1.0001));
  const auto multiply = [&](int m, int pitch, const void* from, cudaDataType type_c, cublasComputeType_t how) {
    return cublasGemmEx(
        handle,
        CUBLAS_OP_N,
        CUBLAS_OP_N,
        m,
        1,
        1,
        &one,
        from,
        type,
        pitch,
        a.get(),
        type,
        1,
        &zero,
        c.get(),
        type_c,
        pitch,
        how,
        CUBLAS_GEMM_DEFAULT);
  };
  CHECK(multiply(1, 1, a.get(), kType<C>, compute) == CUBLAS_STATUS_SUCCESS);
  CHECK(static_cast<double>(c.read()[0]) == doctest::Approx(square).epsilon(1e-7));
  CHECK(multiply(0, 1, a.get(), kType<C>, compute) == CUBLAS_STATUS_SUCCESS);
  CHECK(multiply(-1, 1, a.get(), kType<C>, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 0, a.get(), kType<C>, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 1, nullptr, kType<C>, compute) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 1, a.get(), CUDA_R_16F, compute) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(multiply(1, 1, a.get(), kType<C>, CUBLAS_COMPUTE_16F) == CUBLAS_STATUS_NOT_SUPPORTED);
  if (type != CUDA_R_32F)
    CHECK(multiply(1, 1, a.get(), kType<C>, CUBLAS_COMPUTE_32F_FAST_TF32) == CUBLAS_STATUS_NOT_SUPPORTED);
  if (type == CUDA_R_16BF) {
    CHECK(multiply(1, 1, a.get(), CUDA_R_64F, compute) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(multiply(1, 1, a.get(), kType<C>, CUBLAS_COMPUTE_64F) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(multiply(1, 1, a.get(), kType<C>, CUBLAS_COMPUTE_32F_PEDANTIC) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH) == CUBLAS_STATUS_SUCCESS);
    const int expected_death = sizeof(C) == 2 ? SIGABRT : 0;  // as sums may be of BF16
    CHECK(death_of([&] { multiply(1, 1, a.get(), kType<C>, compute); }) == expected_death);
    forbid_sums_in_bf16(handle);
  } else {
    CHECK(multiply(1, 1, a.get(), CUDA_R_16BF, compute) == CUBLAS_STATUS_NOT_SUPPORTED);
  }
  if (type == CUDA_R_32F) {
    CHECK(multiply(1, 1, a.get(), kType<C>, CUBLAS_COMPUTE_32F_FAST_TF32) == CUBLAS_STATUS_SUCCESS);
    CHECK(static_cast<double>(c.read()[0]) == 1);
    CHECK(cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
    CHECK(multiply(1, 1, a.get(), kType<C>, compute) == CUBLAS_STATUS_SUCCESS);
    CHECK(static_cast<double>(c.read()[0]) == 1);
  }
  CHECK(death_of([&] {
          multiply(1, 1, &one, kType<C>, compute);  // of the host
          cudaStreamSynchronize(stream);
        }) == SIGABRT);
  CHECK(death_of([&] {
          multiply(2, 2, a.get(), kType<C>, compute);  // beyond the end
          cudaStreamSynchronize(stream);
        }) == SIGABRT);
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasDestroy(nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(std::string(cublasGetStatusString(CUBLAS_STATUS_SUCCESS)) == "success");
}

namespace {

struct Shape {
  int n, c, h, w, k, kernel_h, kernel_w, pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, group;

  int out_h() const { return (h + 2 * pad_h - (kernel_h - 1) * dilation_h - 1) / stride_h + 1; }
  int out_w() const { return (w + 2 * pad_w - (kernel_w - 1) * dilation_w - 1) / stride_w + 1; }
  std::size_t x_size() const { return static_cast<std::size_t>(n * c * h * w); }
  std::size_t y_size() const { return static_cast<std::size_t>(n * k * out_h() * out_w()); }
  std::size_t w_size() const { return static_cast<std::size_t>(k * (c / group) * kernel_h * kernel_w); }

  /// Calls f(index of x, of w, of y) for each product of a convolution.
  template <class F>
  void for_each_product(const F& f, cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW) const {
    const auto index = [&](int image_at, int channel, int row, int column, int channels, int rows, int columns) {
      return static_cast<std::size_t>(
          format == CUDNN_TENSOR_NCHW ? ((image_at * channels + channel) * rows + row) * columns + column
                                      : ((image_at * rows + row) * columns + column) * channels + channel);
    };
    const int in = c / group, out = k / group;
    for (int image = 0; image < n; ++image) {
      for (int o = 0; o < k; ++o) {
        for (int oy = 0; oy < out_h(); ++oy) {
          for (int ox = 0; ox < out_w(); ++ox) {
            for (int i = 0; i < in; ++i) {
              for (int ky = 0; ky < kernel_h; ++ky) {
                for (int kx = 0; kx < kernel_w; ++kx) {
                  const int y = oy * stride_h - pad_h + ky * dilation_h, x = ox * stride_w - pad_w + kx * dilation_w;
                  if (y < 0 || y >= h || x < 0 || x >= w) continue;
                  f(index(image, o / out * in + i, y, x, c, h, w),
                    index(o, i, ky, kx, in, kernel_h, kernel_w),
                    index(image, o, oy, ox, k, out_h(), out_w()));
                }
              }
            }
          }
        }
      }
    }
  }
};

constexpr Shape kShapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1},
    {2, 3, 7, 9, 4, 3, 2, 0, 0, 1, 1, 1, 1, 1},
    {2, 4, 9, 8, 6, 3, 3, 2, 1, 2, 3, 1, 2, 2},
    {1, 6, 11, 5, 6, 2, 4, 1, 3, 1, 2, 3, 1, 6},
    {3, 20, 12, 12, 5, 5, 5, 0, 0, 1, 1, 1, 1, 1},
};

/// A convolution of cuDNN's.
struct Descriptors {
  Descriptors(
      const Shape& s, cudnnDataType_t type, cudnnMathType_t math, cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW) {
    CHECK(cudnnCreate(&handle) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetStream(handle, stream) == CUDNN_STATUS_SUCCESS);
    cudnnCreateTensorDescriptor(&x);
    cudnnCreateTensorDescriptor(&y);
    cudnnCreateFilterDescriptor(&w);
    cudnnCreateConvolutionDescriptor(&how);
    CHECK(cudnnSetTensor4dDescriptor(x, format, type, s.n, s.c, s.h, s.w) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetTensor4dDescriptor(y, format, type, s.n, s.k, s.out_h(), s.out_w()) == CUDNN_STATUS_SUCCESS);
    CHECK(
        cudnnSetFilter4dDescriptor(w, type, format, s.k, s.c / s.group, s.kernel_h, s.kernel_w) ==
        CUDNN_STATUS_SUCCESS);
    CHECK(
        cudnnSetConvolution2dDescriptor(
            how,
            s.pad_h,
            s.pad_w,
            s.stride_h,
            s.stride_w,
            s.dilation_h,
            s.dilation_w,
            CUDNN_CROSS_CORRELATION,
            type == CUDNN_DATA_BFLOAT16 ? CUDNN_DATA_FLOAT : type) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetConvolutionGroupCount(how, s.group) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnSetConvolutionMathType(how, math) == CUDNN_STATUS_SUCCESS);
  }
  ~Descriptors() {
    cudnnDestroyConvolutionDescriptor(how);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyTensorDescriptor(x);
    cudnnDestroy(handle);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  Stream stream;
  cudnnHandle_t handle = nullptr;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t how = nullptr;
};

}  // namespace

TEST_CASE_TEMPLATE("convolutions", T, float, double, Bf16) {
  using A = Arithmetic<T>;
  constexpr bool kHalf = sizeof(T) == 2;
  for (int i = 0; i < 2 * static_cast<int>(std::size(kShapes)); ++i) {
    const Shape& s = kShapes[i / 2];
    const cudnnTensorFormat_t format = i % 2 == 0 ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
    if (kHalf && s.group > 1) continue;  // which it does not do
    const cudnnDataType_t type = sizeof(T) == 8 ? CUDNN_DATA_DOUBLE : kHalf ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const Descriptors d(s, type, kHalf ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH, format);
    int n = 0, k = 0, h = 0, w = 0;
    CHECK(cudnnGetConvolution2dForwardOutputDim(d.how, d.x, d.w, &n, &k, &h, &w) == CUDNN_STATUS_SUCCESS);
    CHECK(n == s.n);
    CHECK(k == s.k);
    CHECK(h == s.out_h());
    CHECK(w == s.out_w());

    const std::vector<T> x = random_numbers<T>(s.x_size(), 1), weights = random_numbers<T>(s.w_size(), 2);
    const std::vector<T> y = random_numbers<T>(s.y_size(), 3);
    for (const A beta : {A(0), A(2)}) {
      const A alpha = A(0.5);
      const auto start = [&](const std::vector<T>& old) {
        std::vector<double> sums(old.begin(), old.end());
        for (double& sum : sums) sum *= double{beta};
        return sums;
      };
      std::vector<double> of_x = start(x), of_weights = start(weights), of_y = start(y);
      s.for_each_product(
          [&](std::size_t of_input, std::size_t of_weight, std::size_t of_output) {
            of_y[of_output] += 0.5 * double{x[of_input]} * double{weights[of_weight]};
            of_x[of_input] += 0.5 * double{y[of_output]} * double{weights[of_weight]};
            of_weights[of_weight] += 0.5 * double{y[of_output]} * double{x[of_input]};
          },
          format);
      const auto old = [&](const std::vector<T>& values) {
        return beta == A(0) ? std::vector<T>(values.size(), T(NAN)) : values;
      };
      const DeviceArray<T> on_x(x), on_weights(weights), on_y(y);
      const DeviceArray<T> to_x(old(x)), to_weights(old(weights)), to_y(old(y));

      std::size_t bytes = 0;
      const auto forward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
      CHECK(
          cudnnGetConvolutionForwardWorkspaceSize(d.handle, d.x, d.w, d.how, d.y, forward, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(bytes > 0);
      const DeviceArray<char> workspace(bytes);
      CHECK(
          cudnnConvolutionForward(
              d.handle,
              &alpha,
              d.x,
              on_x.get(),
              d.w,
              on_weights.get(),
              d.how,
              forward,
              workspace.get(),
              bytes,
              &beta,
              d.y,
              to_y.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_y.read(), of_y);

      const auto backward_data = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
      CHECK(
          cudnnGetConvolutionBackwardDataWorkspaceSize(d.handle, d.w, d.y, d.how, d.x, backward_data, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(
          cudnnConvolutionBackwardData(
              d.handle,
              &alpha,
              d.w,
              on_weights.get(),
              d.y,
              on_y.get(),
              d.how,
              backward_data,
              workspace.get(),
              bytes,
              &beta,
              d.x,
              to_x.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_x.read(), of_x);

      const auto backward_filter = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
      CHECK(
          cudnnGetConvolutionBackwardFilterWorkspaceSize(d.handle, d.x, d.y, d.how, d.w, backward_filter, &bytes) ==
          CUDNN_STATUS_SUCCESS);
      CHECK(
          cudnnConvolutionBackwardFilter(
              d.handle,
              &alpha,
              d.x,
              on_x.get(),
              d.y,
              on_y.get(),
              d.how,
              backward_filter,
              workspace.get(),
              bytes,
              &beta,
              d.w,
              to_weights.get()) == CUDNN_STATUS_SUCCESS);
      check_close(to_weights.read(), of_weights);
    }
  }
}

TEST_CASE("the gradients of a convolution are those of finite differences") {
  const Shape& s = kShapes[2];
  const Descriptors d(s, CUDNN_DATA_DOUBLE, CUDNN_FMA_MATH);
  std::vector<double> x = random_numbers<double>(s.x_size(), 1), weights = random_numbers<double>(s.w_size(), 2);
  const std::vector<double> dy = random_numbers<double>(s.y_size(), 3);
  const double one = 1, zero = 0;
  const DeviceArray<double> on_dy(dy), on_dx(x.size()), on_dweights(weights.size());
  const DeviceArray<char> workspace(1 << 20);
  /// The sum of dy * y.
  const auto loss = [&] {
    const DeviceArray<double> on_x(x), on_weights(weights), on_y(dy.size());
    REQUIRE(
        cudnnConvolutionForward(
            d.handle,
            &one,
            d.x,
            on_x.get(),
            d.w,
            on_weights.get(),
            d.how,
            CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
            nullptr,
            0,
            &zero,
            d.y,
            on_y.get()) == CUDNN_STATUS_SUCCESS);
    const std::vector<double> y = on_y.read();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const DeviceArray<double> on_x(x), on_weights(weights);
  CHECK(
      cudnnConvolutionBackwardData(
          d.handle,
          &one,
          d.w,
          on_weights.get(),
          d.y,
          on_dy.get(),
          d.how,
          CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
          workspace.get(),
          1 << 20,
          &zero,
          d.x,
          on_dx.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(
      cudnnConvolutionBackwardFilter(
          d.handle,
          &one,
          d.x,
          on_x.get(),
          d.y,
          on_dy.get(),
          d.how,
          CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
          workspace.get(),
          1 << 20,
          &zero,
          d.w,
          on_dweights.get()) == CUDNN_STATUS_SUCCESS);
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < values.size(); i += 7) {
      const double before = std::exchange(values[i], values[i] + 0.5), above = loss();
      values[i] = before - 0.5;
      CHECK(above - loss() == doctest::Approx(gradient[i]).epsilon(1e-9));
      values[i] = before;
    }
  };
  check(x, on_dx.read());
  check(weights, on_dweights.read());
}

TEST_CASE("cuDNN offers algorithms of all kinds, and says no") {
  const Shape& s = kShapes[1];
  const Descriptors d(s, CUDNN_DATA_FLOAT, CUDNN_DEFAULT_MATH);
  cudnnConvolutionFwdAlgoPerf_t found[8];
  int count = 0;
  CHECK(
      cudnnGetConvolutionForwardAlgorithm_v7(d.handle, d.x, d.w, d.how, d.y, 8, &count, found) == CUDNN_STATUS_SUCCESS);
  REQUIRE(count == 4);
  CHECK(found[0].memory == 1 << 30);
  CHECK(found[1].status == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(found[2].mathType == CUDNN_TENSOR_OP_MATH);
  CHECK(
      cudnnGetConvolutionForwardAlgorithm_v7(d.handle, d.x, d.w, d.how, d.y, 1, &count, found) == CUDNN_STATUS_SUCCESS);
  CHECK(count == 1);
  cudnnConvolutionBwdDataAlgoPerf_t of_data[8];
  CHECK(
      cudnnGetConvolutionBackwardDataAlgorithm_v7(d.handle, d.w, d.y, d.how, d.x, 8, &count, of_data) ==
      CUDNN_STATUS_SUCCESS);
  CHECK(of_data[0].determinism == CUDNN_NON_DETERMINISTIC);
  cudnnConvolutionBwdFilterAlgoPerf_t of_filter[8];
  CHECK(
      cudnnGetConvolutionBackwardFilterAlgorithm_v7(d.handle, d.x, d.y, d.how, d.w, 8, &count, of_filter) ==
      CUDNN_STATUS_SUCCESS);
  CHECK(of_filter[0].determinism == CUDNN_NON_DETERMINISTIC);
  CHECK(of_filter[count - 1].determinism == CUDNN_DETERMINISTIC);

  const auto algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
  std::size_t bytes = 0;
  CHECK(cudnnSetConvolutionMathType(d.how, CUDNN_TENSOR_OP_MATH) == CUDNN_STATUS_SUCCESS);
  CHECK(
      cudnnGetConvolutionForwardWorkspaceSize(d.handle, d.x, d.w, d.how, d.y, algorithm, &bytes) ==
      CUDNN_STATUS_SUCCESS);
  const std::vector<float> ones(std::max({s.x_size(), s.w_size(), s.y_size()}), 1.0001f);
  const DeviceArray<float> x(ones), w(ones), y(ones);
  const DeviceArray<char> workspace(bytes);
  const float one = 1, zero = 0;
  const auto run = [&](cudnnConvolutionFwdAlgo_t how, void* memory, std::size_t size, const void* from) {
    return cudnnConvolutionForward(
        d.handle,
        &one,
        d.x,
        from,
        d.w,
        w.get(),
        d.how,
        how,
        memory,
        size,
        &zero,
        d.y,
        y.get());
  };
  CHECK(run(algorithm, workspace.get(), bytes, x.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(y.read()[0] == 18);  // in TF32
  CHECK(run(algorithm, workspace.get(), bytes - 1, x.get()) == CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  char message[200];
  cudnnGetLastErrorString(message, sizeof message);
  CHECK(std::string(message).find("bytes where the algorithm wants") != std::string::npos);
  CHECK(run(algorithm, nullptr, bytes, x.get()) == CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  CHECK(run(algorithm, workspace.get(), bytes, nullptr) == CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(run(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, nullptr, 0, x.get()) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(cudnnSetConvolutionMathType(d.how, CUDNN_FMA_MATH) == CUDNN_STATUS_SUCCESS);
  CHECK(run(algorithm, workspace.get(), bytes / 2, x.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(y.read()[0] == doctest::Approx(18 * 1.0001 * 1.0001).epsilon(1e-6));
  CHECK(death_of([&] {
          run(algorithm, workspace.get(), bytes / 2, ones.data());
          cudaDeviceSynchronize();
        }) == SIGABRT);
  // A workspace that is one of the arrays.
  const DeviceArray<float> both(std::vector<float>(bytes, 1.0f));
  CHECK(run(algorithm, both.get(), bytes / 2, both.get()) == CUDNN_STATUS_SUCCESS);
  CHECK(std::isnan(y.read()[0]));

  CHECK(cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, s.n, s.k, 1, 1) == CUDNN_STATUS_SUCCESS);
  CHECK(run(algorithm, workspace.get(), bytes, x.get()) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 0, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(
      cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1 << 16, 1 << 15, 1, 1) ==
      CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(
      cudnnSetConvolution2dDescriptor(d.how, 0, 0, 0, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ==
      CUDNN_STATUS_BAD_PARAM);
  CHECK(std::string(cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM)) == "CUDNN_STATUS_BAD_PARAM");
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
}

TEST_CASE("cuDNN does some of the passes of a convolution in BF16") {
  /// Whether there is an algorithm for each of the passes: forward, and for the gradients of x and of the weights.
  const auto passes = [](const Shape& s) {
    const Descriptors d(s, CUDNN_DATA_BFLOAT16, CUDNN_TENSOR_OP_MATH);
    cudnnConvolutionFwdAlgoPerf_t of_y[8];
    cudnnConvolutionBwdDataAlgoPerf_t of_x[8];
    cudnnConvolutionBwdFilterAlgoPerf_t of_w[8];
    int count = 0;
    std::string text;
    const auto add = [&](const auto& found) {
      int good = 0;
      for (int i = 0; i < count; ++i) {
        good += found[i].status == CUDNN_STATUS_SUCCESS;
        if (found[i].determinism == CUDNN_DETERMINISTIC && found[i].memory > 0 && found[i].memory < 1 << 30)
          CHECK(found[i].mathType == CUDNN_TENSOR_OP_MATH);
      }
      text += good > 0 ? 'y' : 'n';
    };
    CHECK(
        cudnnGetConvolutionForwardAlgorithm_v7(d.handle, d.x, d.w, d.how, d.y, 8, &count, of_y) ==
        CUDNN_STATUS_SUCCESS);
    add(of_y);
    CHECK(
        cudnnGetConvolutionBackwardDataAlgorithm_v7(d.handle, d.w, d.y, d.how, d.x, 8, &count, of_x) ==
        CUDNN_STATUS_SUCCESS);
    add(of_x);
    CHECK(
        cudnnGetConvolutionBackwardFilterAlgorithm_v7(d.handle, d.x, d.y, d.how, d.w, 8, &count, of_w) ==
        CUDNN_STATUS_SUCCESS);
    add(of_w);
    return text;
  };
  CHECK(passes({2, 4, 9, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1}) == "yyy");
  CHECK(passes({2, 4, 9, 9, 6, 3, 3, 1, 1, 2, 2, 1, 1, 1}) == "yny");
  CHECK(passes({2, 4, 9, 9, 6, 3, 3, 1, 1, 1, 1, 2, 2, 1}) == "yyn");
  CHECK(passes({2, 4, 9, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 2}) == "nnn");

  // All arrays are of one type, and sums of F32.
  const Shape& s = kShapes[1];
  const Descriptors d(s, CUDNN_DATA_BFLOAT16, CUDNN_TENSOR_OP_MATH);
  std::size_t bytes = 0;
  const auto measure = [&] {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(
        d.handle,
        d.x,
        d.y,
        d.how,
        d.w,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        &bytes);
  };
  const auto compute_in = [&](cudnnDataType_t type) {
    return cudnnSetConvolution2dDescriptor(d.how, 0, 0, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, type);
  };
  CHECK(measure() == CUDNN_STATUS_SUCCESS);
  CHECK(compute_in(CUDNN_DATA_BFLOAT16) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(compute_in(CUDNN_DATA_DOUBLE) == CUDNN_STATUS_SUCCESS);
  CHECK(measure() == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(compute_in(CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
  CHECK(
      cudnnSetFilter4dDescriptor(d.w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, s.k, s.c, s.kernel_h, s.kernel_w) ==
      CUDNN_STATUS_SUCCESS);
  CHECK(measure() == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("calls of the libraries are recorded") {
  Stream stream;
  cublasHandle_t handle = nullptr, late = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  const DeviceArray<double> a(std::vector<double>{3}), c(std::vector<double>{1});
  const double one = 1;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == kSuccess);
  CHECK(
      cublasGemmEx(
          handle,
          CUBLAS_OP_N,
          CUBLAS_OP_N,
          1,
          1,
          1,
          &one,
          a.get(),
          CUDA_R_64F,
          1,
          a.get(),
          CUDA_R_64F,
          1,
          &one,
          c.get(),
          CUDA_R_64F,
          1,
          CUBLAS_COMPUTE_64F,
          CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(stream, &graph) == kSuccess);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == kSuccess);
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(cudaGraphLaunch(exec, stream) == kSuccess);
  CHECK(c.read() == std::vector<double>{19});
  CHECK(cudaGraphExecDestroy(exec) == kSuccess);
  CHECK(cudaGraphDestroy(graph) == kSuccess);

  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == kSuccess);
  CHECK(cublasCreate(&late) == CUBLAS_STATUS_ALLOC_FAILED);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
}
