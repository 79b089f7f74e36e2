#include <cudnn.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "tests/cuda/emulation.h"
#include "tests/cuda/multiply.h"

using namespace sparknet::emulation;

struct cudnnContext {
  int device;
  cudaStream_t stream = nullptr;
};

/// Sizes are 0 before they are set.
struct cudnnTensorStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  std::ptrdiff_t sizes[4] = {};
};

struct cudnnFilterStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  std::ptrdiff_t sizes[4] = {};
};

struct cudnnConvolutionStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  /// Of the two axes. The strides are 0 before they are set.
  std::ptrdiff_t pad[2] = {}, stride[2] = {}, dilation[2] = {};
  std::ptrdiff_t group = 1;
};

namespace {

struct Handles {
  std::mutex mutex;
  std::unordered_set<const void*> all;
};

Handles& handles() {
  static Handles& handles = *new Handles;  // for those that are destroyed with statics
  return handles;
}

thread_local std::string thread_message;

cudnnStatus_t refuse(cudnnStatus_t status, std::string why) {
  thread_message = std::move(why);
  return status;
}

template <class T>
cudnnStatus_t create(T** made, T* one) {
  *made = one;
  const std::lock_guard lock(handles().mutex);
  handles().all.insert(one);
  return CUDNN_STATUS_SUCCESS;
}

template <class T>
cudnnStatus_t destroy(T* handle) {
  const std::lock_guard lock(handles().mutex);
  if (handle && handles().all.erase(handle) == 0) die("a handle or descriptor of cuDNN is destroyed twice");
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

/// Whether none is null; dies of those that were destroyed.
bool are_known(std::initializer_list<const void*> all) {
  const std::lock_guard lock(handles().mutex);
  for (const void* handle : all) {
    if (!handle) return false;
    if (!handles().all.count(handle)) die("a handle or descriptor of cuDNN that is none, or was destroyed");
  }
  return true;
}

bool is_emulated(cudnnDataType_t type, cudnnTensorFormat_t format) {
  if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC) return false;
  return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_DOUBLE || type == CUDNN_DATA_BFLOAT16;
}

std::ptrdiff_t elements(const std::ptrdiff_t (&sizes)[4]) {
  return sizes[0] * sizes[1] * sizes[2] * sizes[3];
}

cudnnStatus_t set_sizes(std::ptrdiff_t (&to)[4], int n, int c, int h, int w) {
  const std::ptrdiff_t sizes[] = {n, c, h, w};
  double all = 1;
  for (const std::ptrdiff_t size : sizes) {
    if (size < 1) return refuse(CUDNN_STATUS_BAD_PARAM, "a size is not positive");
    all *= static_cast<double>(size);
  }
  if (all > INT_MAX) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "more than 2^31 - 1 elements");
  std::copy_n(sizes, 4, to);
  return CUDNN_STATUS_SUCCESS;
}

// A convolution and its algorithms.

struct Convolution {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct how;

  std::ptrdiff_t group_channels() const { return x.sizes[1] / how.group; }
  std::ptrdiff_t group_outputs() const { return w.sizes[0] / how.group; }
  /// Of the columns that a group of an image is unrolled to.
  std::ptrdiff_t depth() const { return group_channels() * w.sizes[2] * w.sizes[3]; }
  std::ptrdiff_t positions() const { return y.sizes[2] * y.sizes[3]; }
  std::ptrdiff_t pixels() const { return x.sizes[2] * x.sizes[3]; }
  std::size_t size() const { return x.type == CUDNN_DATA_DOUBLE ? 8 : is_bf16() ? 2 : 4; }
  bool is_bf16() const { return x.type == CUDNN_DATA_BFLOAT16; }
  bool tf32() const { return x.type == CUDNN_DATA_FLOAT && how.math != CUDNN_FMA_MATH; }
};

std::ptrdiff_t output_size(
    const cudnnConvolutionStruct& how, const cudnnTensorStruct& x, const cudnnFilterStruct& w, int axis) {
  const std::ptrdiff_t span = (w.sizes[2 + axis] - 1) * how.dilation[axis] + 1;
  const std::ptrdiff_t space = x.sizes[2 + axis] + 2 * how.pad[axis] - span;
  return space < 0 ? 0 : space / how.stride[axis] + 1;
}

cudnnStatus_t check(const Convolution& c) {
  if (c.x.sizes[0] == 0 || c.y.sizes[0] == 0 || c.w.sizes[0] == 0 || c.how.stride[0] == 0)
    return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor has not been set");
  if (c.x.type != c.y.type || c.x.type != c.w.type) return refuse(CUDNN_STATUS_BAD_PARAM, "types differ");
  if (c.x.format != c.y.format || c.x.format != c.w.format) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "formats differ");
  if (c.how.type != (c.is_bf16() ? CUDNN_DATA_FLOAT : c.x.type))
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "the type to compute in is another");
  if (c.x.sizes[1] % c.how.group != 0 || c.w.sizes[0] % c.how.group != 0)
    return refuse(CUDNN_STATUS_BAD_PARAM, "the groups do not divide the channels");
  if (c.w.sizes[1] != c.group_channels()) return refuse(CUDNN_STATUS_BAD_PARAM, "filters of other channels");
  if (c.y.sizes[0] != c.x.sizes[0] || c.y.sizes[1] != c.w.sizes[0])
    return refuse(CUDNN_STATUS_BAD_PARAM, "outputs of another shape");
  for (const int axis : {0, 1}) {
    const std::ptrdiff_t size = output_size(c.how, c.x, c.w, axis);
    if (size < 1 || c.y.sizes[2 + axis] != size) return refuse(CUDNN_STATUS_BAD_PARAM, "outputs of another size");
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t gather(
    Convolution& to, cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
    cudnnConvolutionDescriptor_t how, cudnnTensorDescriptor_t y) {
  if (!are_known({handle, x, w, how, y}))
    return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the handle or a descriptor is null");
  to = {*x, *y, *w, *how};
  return check(to);
}

/// What the lists say about an algorithm. They begin with what sparknet must not take.
enum class Kind : std::uint8_t {
  /// Wants 1 GiB.
  Large,
  /// Not the same bits every time.
  Random,
  Unsupported,
  /// With some workspace, by tensor cores twice as much.
  Good,
  /// Without.
  Slow,
};

template <class Algorithm>
struct Offer {
  Algorithm algorithm;
  Kind kind;
};

constexpr Offer<cudnnConvolutionFwdAlgo_t> kForward[] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING, Kind::Large},
    {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, Kind::Unsupported},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, Kind::Good},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, Kind::Slow},
};
constexpr Offer<cudnnConvolutionBwdDataAlgo_t> kBackwardData[] = {
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, Kind::Random},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING, Kind::Large},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, Kind::Unsupported},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, Kind::Good},
};
constexpr Offer<cudnnConvolutionBwdFilterAlgo_t> kBackwardFilter[] = {
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, Kind::Random},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, Kind::Random},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING, Kind::Large},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, Kind::Unsupported},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, Kind::Good},
};

/// BF16 is done where there are no groups, and not all of that: so that there are passes that are done beside others
/// that are not. What cuDNN does is another matter.
bool does_bf16(const Convolution& c, cudnnConvolutionFwdAlgo_t) {
  return c.how.group == 1;
}
bool does_bf16(const Convolution& c, cudnnConvolutionBwdDataAlgo_t) {
  return c.how.group == 1 && c.how.stride[0] == 1;
}
bool does_bf16(const Convolution& c, cudnnConvolutionBwdFilterAlgo_t) {
  return c.how.group == 1 && c.how.dilation[0] == 1;
}

template <class Algorithm, std::size_t kCount>
Kind kind_of(const Offer<Algorithm> (&offers)[kCount], const Convolution& c, Algorithm algorithm) {
  if (c.is_bf16() && !does_bf16(c, algorithm)) return Kind::Unsupported;
  for (const Offer<Algorithm>& offer : offers) {
    if (offer.algorithm == algorithm) return offer.kind;
  }
  return Kind::Unsupported;
}

std::size_t workspace_of(const Convolution& c, Kind kind, cudnnMathType_t math) {
  switch (kind) {
    case Kind::Large: return std::size_t{1} << 30;
    case Kind::Good: {
      const std::size_t columns = static_cast<std::size_t>(c.depth() * c.positions()) * c.size();
      return (columns + 255) / 256 * 256 * (math == CUDNN_TENSOR_OP_MATH ? 2 : 1);
    }
    default: return 0;
  }
}

template <class Algorithm, std::size_t kCount, class Found>
cudnnStatus_t list(const Offer<Algorithm> (&offers)[kCount], const Convolution& c, int most, int* count, Found* found) {
  if (!count || !found || most < 1) return refuse(CUDNN_STATUS_BAD_PARAM, "no place for the list");
  *count = std::min(most, static_cast<int>(kCount));
  for (int i = 0; i < *count; ++i) {
    const Kind kind = kind_of(offers, c, offers[i].algorithm);
    const bool unsupported = kind == Kind::Unsupported;
    const bool by_tensor_cores = (c.tf32() || c.is_bf16()) && kind == Kind::Good;
    const cudnnMathType_t math = by_tensor_cores ? CUDNN_TENSOR_OP_MATH : c.how.math;
    found[i] = {};
    found[i].algo = offers[i].algorithm;
    found[i].status = unsupported ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
    found[i].time = -1;
    found[i].memory = workspace_of(c, kind, math);
    found[i].determinism = kind == Kind::Random ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    found[i].mathType = math;
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t measure(const Convolution& c, Kind kind, std::size_t* bytes) {
  if (!bytes) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for the size");
  if (kind == Kind::Unsupported) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an algorithm that is not supported");
  *bytes = workspace_of(c, kind, c.how.math);
  return CUDNN_STATUS_SUCCESS;
}

// The arithmetic.

/// The columns of a group of an image: a row for each channel and place of the kernel.
template <class T>
void unroll(const Convolution& c, const T* x, T* columns) {
  for (std::ptrdiff_t channel = 0; channel < c.group_channels(); ++channel, x += c.pixels()) {
    for (std::ptrdiff_t ky = 0; ky < c.w.sizes[2]; ++ky) {
      for (std::ptrdiff_t kx = 0; kx < c.w.sizes[3]; ++kx) {
        for (std::ptrdiff_t oy = 0; oy < c.y.sizes[2]; ++oy) {
          const std::ptrdiff_t y = oy * c.how.stride[0] - c.how.pad[0] + ky * c.how.dilation[0];
          for (std::ptrdiff_t ox = 0; ox < c.y.sizes[3]; ++ox) {
            const std::ptrdiff_t at = ox * c.how.stride[1] - c.how.pad[1] + kx * c.how.dilation[1];
            const bool inside = y >= 0 && y < c.x.sizes[2] && at >= 0 && at < c.x.sizes[3];
            *columns++ = inside ? x[y * c.x.sizes[3] + at] : T{};
          }
        }
      }
    }
  }
}

/// Adds up what the columns have for each pixel.
void roll_up(const Convolution& c, const double* columns, double* x) {
  for (std::ptrdiff_t channel = 0; channel < c.group_channels(); ++channel, x += c.pixels()) {
    for (std::ptrdiff_t ky = 0; ky < c.w.sizes[2]; ++ky) {
      for (std::ptrdiff_t kx = 0; kx < c.w.sizes[3]; ++kx) {
        for (std::ptrdiff_t oy = 0; oy < c.y.sizes[2]; ++oy) {
          const std::ptrdiff_t y = oy * c.how.stride[0] - c.how.pad[0] + ky * c.how.dilation[0];
          for (std::ptrdiff_t ox = 0; ox < c.y.sizes[3]; ++ox, ++columns) {
            const std::ptrdiff_t at = ox * c.how.stride[1] - c.how.pad[1] + kx * c.how.dilation[1];
            if (y >= 0 && y < c.x.sizes[2] && at >= 0 && at < c.x.sizes[3]) x[y * c.x.sizes[3] + at] += *columns;
          }
        }
      }
    }
  }
}

template <class T>
struct Factors {
  Arithmetic<T> alpha, beta;

  void put(double value, T& to) const {
    const double old = beta == 0 ? 0.0 : double{beta} * static_cast<double>(to);
    to = static_cast<T>(double{alpha} * value + old);
  }
};

/// Calls f(the first channel of the group in x, and in y) for each image and group.
template <class F>
void for_each_group(const Convolution& c, const F& f) {
  for (std::ptrdiff_t image = 0; image < c.x.sizes[0]; ++image) {
    for (std::ptrdiff_t group = 0; group < c.how.group; ++group)
      f(group,
        (image * c.x.sizes[1] + group * c.group_channels()) * c.pixels(),
        (image * c.y.sizes[1] + group * c.group_outputs()) * c.positions());
  }
}

template <class T>
void forward(const Convolution& c, const Factors<T>& factors, const T* x, const T* w, T* y) {
  const std::ptrdiff_t depth = c.depth(), positions = c.positions(), outputs = c.group_outputs();
  std::vector<T> columns(static_cast<std::size_t>(depth * positions));
  for_each_group(c, [&](std::ptrdiff_t group, std::ptrdiff_t in_x, std::ptrdiff_t in_y) {
    unroll(c, x + in_x, columns.data());
    multiply(
        outputs,
        positions,
        depth,
        Matrix<T>{w + group * outputs * depth, depth, 1},
        Matrix<T>{columns.data(), positions, 1},
        c.tf32(),
        [&](std::ptrdiff_t i, std::ptrdiff_t j, double sum) { factors.put(sum, y[in_y + i * positions + j]); });
  });
}

template <class T>
void backward_data(const Convolution& c, const Factors<T>& factors, T* dx, const T* w, const T* dy) {
  const std::ptrdiff_t depth = c.depth(), positions = c.positions(), outputs = c.group_outputs();
  std::vector<double> columns(static_cast<std::size_t>(depth * positions));
  std::vector<double> image(static_cast<std::size_t>(c.group_channels() * c.pixels()));
  for_each_group(c, [&](std::ptrdiff_t group, std::ptrdiff_t in_x, std::ptrdiff_t in_y) {
    multiply(
        depth,
        positions,
        outputs,
        Matrix<T>{w + group * outputs * depth, 1, depth},
        Matrix<T>{dy + in_y, positions, 1},
        c.tf32(),
        [&](std::ptrdiff_t i, std::ptrdiff_t j, double sum) {
          columns[static_cast<std::size_t>(i * positions + j)] = sum;
        });
    std::fill(image.begin(), image.end(), 0.0);
    roll_up(c, columns.data(), image.data());
    for (std::size_t i = 0; i < image.size(); ++i) factors.put(image[i], dx[in_x + static_cast<std::ptrdiff_t>(i)]);
  });
}

template <class T>
void backward_filter(const Convolution& c, const Factors<T>& factors, const T* x, T* dw, const T* dy) {
  const std::ptrdiff_t depth = c.depth(), positions = c.positions(), outputs = c.group_outputs();
  std::vector<T> columns(static_cast<std::size_t>(depth * positions));
  std::vector<double> total(static_cast<std::size_t>(elements(c.w.sizes)));
  for_each_group(c, [&](std::ptrdiff_t group, std::ptrdiff_t in_x, std::ptrdiff_t in_y) {
    unroll(c, x + in_x, columns.data());
    double* const sums = total.data() + group * outputs * depth;
    multiply(
        outputs,
        depth,
        positions,
        Matrix<T>{dy + in_y, positions, 1},
        Matrix<T>{columns.data(), 1, positions},
        c.tf32(),
        [&](std::ptrdiff_t i, std::ptrdiff_t j, double sum) { sums[i * depth + j] += sum; });
  });
  for (std::size_t i = 0; i < total.size(); ++i) factors.put(total[i], dw[i]);
}

struct Call {
  cudnnHandle_t handle;
  Convolution convolution;
  Kind kind;
  const void *alpha, *beta;
  void* workspace;
  std::size_t workspace_bytes;
  void* x;
  void* w;
  void* y;
  /// One of the three.
  void* output;
};

/// An array of a format, as it is in NCHW; of the output what is there when this ends is put back.
template <class T>
class InPlanes {
 public:
  InPlanes(void* array, const std::ptrdiff_t (&sizes)[4], bool nhwc, bool is_output)
      : array_(static_cast<T*>(array)), sizes_(sizes), is_output_(is_output) {
    if (!nhwc) return;
    planes_.resize(static_cast<std::size_t>(elements(sizes)));
    for_all([&](T& in_planes, T& in_pixels) { in_planes = in_pixels; });
  }
  ~InPlanes() {
    if (is_output_ && !planes_.empty()) for_all([](T& in_planes, T& in_pixels) { in_pixels = in_planes; });
  }
  InPlanes(const InPlanes&) = delete;
  InPlanes& operator=(const InPlanes&) = delete;

  T* get() { return planes_.empty() ? array_ : planes_.data(); }

 private:
  template <class F>
  void for_all(const F& f) {
    T* in_planes = planes_.data();
    const std::ptrdiff_t pixels = sizes_[2] * sizes_[3];
    for (std::ptrdiff_t n = 0; n < sizes_[0]; ++n)
      for (std::ptrdiff_t c = 0; c < sizes_[1]; ++c)
        for (std::ptrdiff_t p = 0; p < pixels; ++p) f(*in_planes++, array_[(n * pixels + p) * sizes_[1] + c]);
  }

  T* array_;
  const std::ptrdiff_t (&sizes_)[4];
  bool is_output_;
  std::vector<T> planes_;
};

void* writable(const void* array) {
  return const_cast<void*>(array);
}

template <class T, class F>
cudnnStatus_t start_as(const Call& call, std::size_t needed, const F& f) {
  using A = Arithmetic<T>;
  const Factors<T> factors{*static_cast<const A*>(call.alpha), *static_cast<const A*>(call.beta)};
  const auto work = [=] {
    const Convolution& c = call.convolution;
    const auto bytes = [](std::ptrdiff_t count) { return static_cast<std::size_t>(count) * sizeof(T); };
    require(call.x, bytes(elements(c.x.sizes)), sizeof(T), "cuDNN: x or dx");
    require(call.w, bytes(elements(c.w.sizes)), sizeof(T), "cuDNN: w or dw");
    require(call.y, bytes(elements(c.y.sizes)), sizeof(T), "cuDNN: y or dy");
    require(call.workspace, needed, 16, "cuDNN: the workspace");
    // What lay there is gone before and after, if it was one of the arrays.
    const std::size_t some = std::min(needed, std::size_t{1} << 20);
    if (some > 0) std::memset(call.workspace, 0xff, some);
    {
      const bool nhwc = c.x.format == CUDNN_TENSOR_NHWC;
      InPlanes<T> x(call.x, c.x.sizes, nhwc, call.x == call.output);
      InPlanes<T> w(call.w, c.w.sizes, nhwc, call.w == call.output);
      InPlanes<T> y(call.y, c.y.sizes, nhwc, call.y == call.output);
      f(c, factors, x.get(), w.get(), y.get());
    }
    if (some > 0) std::memset(call.workspace, 0xff, some);
  };
  if (submit(call.handle->stream, work) == cudaSuccess) return CUDNN_STATUS_SUCCESS;
  return refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDART, cudaGetErrorString(cudaPeekAtLastError()));
}

/// Checks what is asked for, and starts f(convolution, factors, x, w, y), which are of the type and of NCHW.
template <class F>
cudnnStatus_t start(const Call& call, const F& f) {
  if (!call.alpha || !call.beta || !call.x || !call.w || !call.y)
    return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "an array or factor is null");
  if (call.kind == Kind::Unsupported) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an algorithm that is not supported");
  if (call.handle->device != current_device()) return refuse(CUDNN_STATUS_BAD_PARAM, "the handle is another device's");
  const std::size_t needed = workspace_of(call.convolution, call.kind, call.convolution.how.math);
  if (call.workspace_bytes < needed || (needed > 0 && !call.workspace))
    return refuse(
        CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT,
        "a workspace of " + std::to_string(call.workspace_bytes) + " bytes where the algorithm wants " +
            std::to_string(needed));
  if (call.convolution.is_bf16()) return start_as<Bf16>(call, needed, f);
  return call.convolution.x.type == CUDNN_DATA_DOUBLE ? start_as<double>(call, needed, f)
                                                      : start_as<float>(call, needed, f);
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() {
  return CUDNN_VERSION;
}

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT: return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED:
      return "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
    case CUDNN_STATUS_EXECUTION_FAILED_CUDART: return "CUDNN_STATUS_EXECUTION_FAILED_CUDART";
    default: return "CUDNN_UNKNOWN_STATUS";
  }
}

void cudnnGetLastErrorString(char* message, std::size_t bytes) {
  if (bytes == 0) return;
  const std::size_t length = std::min(bytes - 1, thread_message.size());
  std::memcpy(message, thread_message.data(), length);
  message[length] = '\0';
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (!handle) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for the handle");
  if (may_wait() != cudaSuccess)
    return refuse(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, "a stream is capturing");
  return create(handle, new cudnnContext{current_device()});
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  if (handle) wait_for_device();
  return destroy(handle);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (!are_known({handle})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the handle is null");
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

// Descriptors.

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  return create(descriptor, new cudnnTensorStruct);
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(
    cudnnTensorDescriptor_t descriptor, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w) {
  if (!are_known({descriptor})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the descriptor is null");
  if (!is_emulated(type, format)) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a format or type that is not emulated");
  descriptor->type = type;
  descriptor->format = format;
  return set_sizes(descriptor->sizes, n, c, h, w);
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  return create(descriptor, new cudnnFilterStruct);
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(
    cudnnFilterDescriptor_t descriptor, cudnnDataType_t type, cudnnTensorFormat_t format, int k, int c, int h, int w) {
  if (!are_known({descriptor})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the descriptor is null");
  if (!is_emulated(type, format)) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a format or type that is not emulated");
  descriptor->type = type;
  descriptor->format = format;
  return set_sizes(descriptor->sizes, k, c, h, w);
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* descriptor) {
  return create(descriptor, new cudnnConvolutionStruct);
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(
    cudnnConvolutionDescriptor_t descriptor, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  if (!are_known({descriptor})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the descriptor is null");
  if (pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1)
    return refuse(CUDNN_STATUS_BAD_PARAM, "a pad, stride or dilation is too small");
  if (mode != CUDNN_CROSS_CORRELATION || (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_DOUBLE))
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "a mode or type that is not emulated");
  const cudnnConvolutionStruct before = *descriptor;
  *descriptor = {type, before.math, {pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w}, before.group};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t math) {
  if (!are_known({descriptor})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the descriptor is null");
  descriptor->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int count) {
  if (!are_known({descriptor})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "the descriptor is null");
  if (count < 1) return refuse(CUDNN_STATUS_BAD_PARAM, "less than one group");
  descriptor->group = count;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w, int* n,
    int* c, int* height, int* width) {
  if (!are_known({how, x, w})) return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a descriptor is null");
  if (x->sizes[0] == 0 || w->sizes[0] == 0 || how->stride[0] == 0 || w->sizes[1] * how->group != x->sizes[1])
    return refuse(CUDNN_STATUS_BAD_PARAM, "descriptors that are not set or do not fit");
  *n = static_cast<int>(x->sizes[0]);
  *c = static_cast<int>(w->sizes[0]);
  *height = static_cast<int>(output_size(*how, *x, *w, 0));
  *width = static_cast<int>(output_size(*how, *x, *w, 1));
  return *height < 1 || *width < 1 ? refuse(CUDNN_STATUS_BAD_PARAM, "nothing is left") : CUDNN_STATUS_SUCCESS;
}

// Convolutions.

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t y, const int most, int* count,
    cudnnConvolutionFwdAlgoPerf_t* found) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, x, w, how, y); status != CUDNN_STATUS_SUCCESS) return status;
  return list(kForward, c, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algorithm,
    std::size_t* bytes) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, x, w, how, y); status != CUDNN_STATUS_SUCCESS) return status;
  return measure(c, kind_of(kForward, c, algorithm), bytes);
}

cudnnStatus_t cudnnConvolutionForward(
    cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t of_x, const void* x,
    const cudnnFilterDescriptor_t of_w, const void* w, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionFwdAlgo_t algorithm, void* workspace, std::size_t bytes, const void* beta,
    const cudnnTensorDescriptor_t of_y, void* y) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, of_x, of_w, how, of_y); status != CUDNN_STATUS_SUCCESS)
    return status;
  return start(
      {handle, c, kind_of(kForward, c, algorithm), alpha, beta, workspace, bytes, writable(x), writable(w), y, y},
      [](const auto&... all) { forward(all...); });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t dx, const int most, int* count,
    cudnnConvolutionBwdDataAlgoPerf_t* found) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, dx, w, how, dy); status != CUDNN_STATUS_SUCCESS) return status;
  return list(kBackwardData, c, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t dx, cudnnConvolutionBwdDataAlgo_t algorithm,
    std::size_t* bytes) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, dx, w, how, dy); status != CUDNN_STATUS_SUCCESS) return status;
  return measure(c, kind_of(kBackwardData, c, algorithm), bytes);
}

cudnnStatus_t cudnnConvolutionBackwardData(
    cudnnHandle_t handle, const void* alpha, const cudnnFilterDescriptor_t of_w, const void* w,
    const cudnnTensorDescriptor_t of_dy, const void* dy, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace, std::size_t bytes, const void* beta,
    const cudnnTensorDescriptor_t of_dx, void* dx) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, of_dx, of_w, how, of_dy); status != CUDNN_STATUS_SUCCESS)
    return status;
  return start(
      {handle,
       c,
       kind_of(kBackwardData, c, algorithm),
       alpha,
       beta,
       workspace,
       bytes,
       dx,
       writable(w),
       writable(dy),
       dx},
      [](const auto&... all) { backward_data(all...); });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t how, const cudnnFilterDescriptor_t dw, const int most, int* count,
    cudnnConvolutionBwdFilterAlgoPerf_t* found) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, x, dw, how, dy); status != CUDNN_STATUS_SUCCESS) return status;
  return list(kBackwardFilter, c, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t dy,
    const cudnnConvolutionDescriptor_t how, const cudnnFilterDescriptor_t dw, cudnnConvolutionBwdFilterAlgo_t algorithm,
    std::size_t* bytes) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, x, dw, how, dy); status != CUDNN_STATUS_SUCCESS) return status;
  return measure(c, kind_of(kBackwardFilter, c, algorithm), bytes);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t of_x, const void* x,
    const cudnnTensorDescriptor_t of_dy, const void* dy, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace, std::size_t bytes, const void* beta,
    const cudnnFilterDescriptor_t of_dw, void* dw) {
  Convolution c;
  if (const cudnnStatus_t status = gather(c, handle, of_x, of_dw, how, of_dy); status != CUDNN_STATUS_SUCCESS)
    return status;
  return start(
      {handle,
       c,
       kind_of(kBackwardFilter, c, algorithm),
       alpha,
       beta,
       workspace,
       bytes,
       writable(x),
       dw,
       writable(dy),
       dw},
      [](const auto&... all) { backward_filter(all...); });
}

}  // extern "C"
