#include "kernels/cuda/convolution.h"

#include <algorithm>
#include <climits>
#include <optional>

#include "kernels/cuda/pass_weights.h"

namespace sparknet::kernels::cuda {
namespace {

/// An algorithm that wants more is not taken.
constexpr std::size_t kWorkspaceBytes = std::size_t{256} << 20;

template <class D, cudnnStatus_t (*kCreate)(D*), cudnnStatus_t (*kDestroy)(D)>
class Descriptor {
 public:
  explicit Descriptor(const Context& context) { context.check(kCreate(&descriptor_), "a descriptor"); }
  ~Descriptor() { kDestroy(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  D get() const { return descriptor_; }

 private:
  D descriptor_ = nullptr;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using PassDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

/// One of the passes, and how cuDNN does it, if it does; `Found` is what it says about an algorithm.
template <class Found>
struct Pass {
  using Algorithm = decltype(Found::algo);

  explicit Pass(const Context& context) : descriptor(context) {}

  PassDescriptor descriptor;
  std::optional<Algorithm> algorithm;
  std::size_t workspace_bytes = 0;
};

/// The same convolution with its two axes in an array.
ConvolutionNdShape general(const ConvolutionShape& s) {
  WindowShape window{s.batch, s.channels, 2, {}, {}, {}, {}, {}};
  const auto set = [](WindowShape::Sizes& sizes, Index h, Index w) {
    sizes[0] = h;
    sizes[1] = w;
  };
  set(window.size, s.height, s.width);
  set(window.kernel, s.kernel_h, s.kernel_w);
  set(window.stride, s.stride_h, s.stride_w);
  set(window.pad, s.pad_h, s.pad_w);
  set(window.dilation, s.dilation_h, s.dilation_w);
  return {window, s.num_output, s.group};
}

ChannelShape channels_of(Index batch, Index channels, Index pixels, bool nhwc) {
  return nhwc ? ChannelShape{batch * pixels, channels, 1} : ChannelShape{batch, channels, pixels};
}

/// Those of NHWC by those of NCHW, in whose format the scratch holds x and y.
class TurnedPasses final : public ConvolutionPasses {
 public:
  TurnedPasses(CudaBackend& backend, Context& context, DType dtype, const ConvolutionShape& shape);

  std::size_t scratch_bytes() const override { return x_.bytes + y_.bytes + passes_->scratch_bytes(); }

  void forward(const void* x, const void* weights, void* y, void* scratch) override {
    to_planes(x_, x, of_x(scratch));
    passes_->forward(of_x(scratch), weights, of_y(scratch), rest(scratch));
    to_pixels(y_, of_y(scratch), y);
  }
  void input_gradient(const void* weights, const void* dy, void* dx, void* scratch) override {
    to_planes(y_, dy, of_y(scratch));
    passes_->input_gradient(weights, of_y(scratch), of_x(scratch), rest(scratch));
    to_pixels(x_, of_x(scratch), dx);
  }
  void weight_gradient(const void* x, const void* dy, void* dweights, bool accumulate, void* scratch) override {
    to_planes(x_, x, of_x(scratch));
    to_planes(y_, dy, of_y(scratch));
    passes_->weight_gradient(of_x(scratch), of_y(scratch), dweights, accumulate, rest(scratch));
  }

 private:
  struct Images {
    Index batch, channels, pixels;
    std::size_t bytes;
  };

  static void* of_x(void* scratch) { return scratch; }
  void* of_y(void* scratch) const { return static_cast<char*>(scratch) + x_.bytes; }
  void* rest(void* scratch) const { return static_cast<char*>(scratch) + x_.bytes + y_.bytes; }

  void to_planes(const Images& images, const void* from, void* to) const {
    backend_.transpose(dtype_, dtype_, images.batch, images.pixels, images.channels, from, to);
  }
  void to_pixels(const Images& images, const void* from, void* to) const {
    backend_.transpose(dtype_, dtype_, images.batch, images.channels, images.pixels, from, to);
  }

  CudaBackend& backend_;
  DType dtype_;
  Images x_, y_;
  std::unique_ptr<ConvolutionPasses> passes_;
};

class CudnnPasses final : public ConvolutionPasses {
 public:
  CudnnPasses(CudaBackend& backend, Context& context, DType dtype, const ConvolutionShape& shape)
      : context_(context),
        wide_(dtype == DType::F64),
        narrow_(dtype == DType::BF16),
        format_(shape.nhwc ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW),
        in_memory_(
            backend, dtype, shape.num_output, shape.channels / shape.group, shape.kernel_h * shape.kernel_w,
            shape.nhwc),
        what_(describe(general(shape))),
        x_(context),
        y_(context),
        weights_(context),
        forward_(context),
        input_gradient_(context),
        weight_gradient_(context) {
    if (set(shape)) choose_all();
    if (forward_.algorithm && input_gradient_.algorithm && weight_gradient_.algorithm) return;
    if (shape.nhwc)
      others_ = std::make_unique<TurnedPasses>(backend, context, dtype, shape);
    else
      others_ = make_column_passes(backend, context, dtype, general(shape));
  }

  std::size_t scratch_bytes() const override {
    const std::size_t workspace =
        std::max({forward_.workspace_bytes, input_gradient_.workspace_bytes, weight_gradient_.workspace_bytes});
    return std::max(in_memory_.bytes() + workspace, others_ ? others_->scratch_bytes() : 0);
  }

  void forward(const void* x, const void* weights, void* y, void* scratch) override {
    if (!forward_.algorithm) {
      others_->forward(x, weights, y, scratch);
      return;
    }
    const void* const taken = in_memory_.take(weights, scratch);
    if (!context_.begins()) return;
    check(cudnnConvolutionForward(
        context_.cudnn(),
        factor(true),
        x_.get(),
        x,
        weights_.get(),
        taken,
        forward_.descriptor.get(),
        *forward_.algorithm,
        in_memory_.behind(scratch),
        forward_.workspace_bytes,
        factor(false),
        y_.get(),
        y));
    context_.done();
  }

  void input_gradient(const void* weights, const void* dy, void* dx, void* scratch) override {
    if (!input_gradient_.algorithm) {
      others_->input_gradient(weights, dy, dx, scratch);
      return;
    }
    const void* const taken = in_memory_.take(weights, scratch);
    if (!context_.begins()) return;
    check(cudnnConvolutionBackwardData(
        context_.cudnn(),
        factor(true),
        weights_.get(),
        taken,
        y_.get(),
        dy,
        input_gradient_.descriptor.get(),
        *input_gradient_.algorithm,
        in_memory_.behind(scratch),
        input_gradient_.workspace_bytes,
        factor(false),
        x_.get(),
        dx));
    context_.done();
  }

  void weight_gradient(const void* x, const void* dy, void* dweights, bool accumulate, void* scratch) override {
    if (!weight_gradient_.algorithm) {
      others_->weight_gradient(x, dy, dweights, accumulate, scratch);
      return;
    }
    const bool elsewhere = in_memory_.bytes() > 0;
    if (context_.begins()) {
      check(cudnnConvolutionBackwardFilter(
          context_.cudnn(),
          factor(true),
          x_.get(),
          x,
          y_.get(),
          dy,
          weight_gradient_.descriptor.get(),
          *weight_gradient_.algorithm,
          in_memory_.behind(scratch),
          weight_gradient_.workspace_bytes,
          factor(accumulate && !elsewhere),
          weights_.get(),
          elsewhere ? scratch : dweights));
      context_.done();
    }
    if (elsewhere) in_memory_.give(context_, scratch, dweights, accumulate);
  }

 private:
  void check(cudnnStatus_t status) const { context_.check(status, what_.c_str()); }

  /// Whether cuDNN does what it was asked for; throws what is not about that.
  bool does(cudnnStatus_t status) const {
    const int kind = CUDNN_STATUS_CATEGORY(static_cast<int>(status));
    if (kind == CUDNN_STATUS_NOT_SUPPORTED || kind == CUDNN_STATUS_BAD_PARAM) return false;
    check(status);
    return true;
  }

  /// Whether cuDNN has a choice of arithmetic: in F32 that is whether it rounds the factors to TF32.
  bool chooses_math() const { return narrow_ || (!wide_ && context_.uses_tf32()); }

  /// 1 or 0 of the type that cuDNN computes in.
  const void* factor(bool one) const {
    static const float narrow[] = {0, 1};
    static const double wide[] = {0, 1};
    return wide_ ? static_cast<const void*>(wide + one) : narrow + one;
  }

  /// Describes the shape, if cuDNN takes it: nothing empty, and nothing that needs 64 bits.
  bool set(const ConvolutionShape& s) {
    for (const Index size :
         {s.batch, s.channels, s.height, s.width, s.num_output, s.kernel_h, s.kernel_w, s.out_h(), s.out_w()}) {
      if (size < 1 || size > INT_MAX) return false;
    }
    for (const Index size : {s.stride_h, s.stride_w, s.pad_h, s.pad_w, s.dilation_h, s.dilation_w}) {
      if (size > INT_MAX) return false;
    }
    const auto i = [](Index size) { return static_cast<int>(size); };
    const cudnnDataType_t sums = wide_ ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
    const cudnnDataType_t type = narrow_ ? CUDNN_DATA_BFLOAT16 : sums;
    const auto set_images = [&](const TensorDescriptor& images, Index channels, Index height, Index width) {
      return does(
          cudnnSetTensor4dDescriptor(images.get(), format_, type, i(s.batch), i(channels), i(height), i(width)));
    };
    if (!set_images(x_, s.channels, s.height, s.width)) return false;
    if (!set_images(y_, s.num_output, s.out_h(), s.out_w())) return false;
    if (!does(cudnnSetFilter4dDescriptor(
            weights_.get(),
            type,
            format_,
            i(s.num_output),
            i(s.channels / s.group),
            i(s.kernel_h),
            i(s.kernel_w))))
      return false;
    for (const PassDescriptor* pass :
         {&forward_.descriptor, &input_gradient_.descriptor, &weight_gradient_.descriptor}) {
      if (!does(cudnnSetConvolution2dDescriptor(
              pass->get(),
              i(s.pad_h),
              i(s.pad_w),
              i(s.stride_h),
              i(s.stride_w),
              i(s.dilation_h),
              i(s.dilation_w),
              CUDNN_CROSS_CORRELATION,
              sums)))
        return false;
      if (!does(cudnnSetConvolutionGroupCount(pass->get(), i(s.group)))) return false;
      // The default lets TF32 in, where there is a choice.
      const cudnnMathType_t math = narrow_                   ? CUDNN_TENSOR_OP_MATH
                                   : wide_ || chooses_math() ? CUDNN_DEFAULT_MATH
                                                             : CUDNN_FMA_MATH;
      check(cudnnSetConvolutionMathType(pass->get(), math));
    }
    return true;
  }

  void choose_all() {
    const cudnnHandle_t handle = context_.cudnn();
    choose(
        forward_,
        [&](int most, int* count, cudnnConvolutionFwdAlgoPerf_t* found) {
          return cudnnGetConvolutionForwardAlgorithm_v7(
              handle,
              x_.get(),
              weights_.get(),
              forward_.descriptor.get(),
              y_.get(),
              most,
              count,
              found);
        },
        [&](cudnnConvolutionFwdAlgo_t algorithm, std::size_t* bytes) {
          return cudnnGetConvolutionForwardWorkspaceSize(
              handle,
              x_.get(),
              weights_.get(),
              forward_.descriptor.get(),
              y_.get(),
              algorithm,
              bytes);
        });
    choose(
        input_gradient_,
        [&](int most, int* count, cudnnConvolutionBwdDataAlgoPerf_t* found) {
          return cudnnGetConvolutionBackwardDataAlgorithm_v7(
              handle,
              weights_.get(),
              y_.get(),
              input_gradient_.descriptor.get(),
              x_.get(),
              most,
              count,
              found);
        },
        [&](cudnnConvolutionBwdDataAlgo_t algorithm, std::size_t* bytes) {
          return cudnnGetConvolutionBackwardDataWorkspaceSize(
              handle,
              weights_.get(),
              y_.get(),
              input_gradient_.descriptor.get(),
              x_.get(),
              algorithm,
              bytes);
        });
    choose(
        weight_gradient_,
        [&](int most, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* found) {
          return cudnnGetConvolutionBackwardFilterAlgorithm_v7(
              handle,
              x_.get(),
              y_.get(),
              weight_gradient_.descriptor.get(),
              weights_.get(),
              most,
              count,
              found);
        },
        [&](cudnnConvolutionBwdFilterAlgo_t algorithm, std::size_t* bytes) {
          return cudnnGetConvolutionBackwardFilterWorkspaceSize(
              handle,
              x_.get(),
              y_.get(),
              weight_gradient_.descriptor.get(),
              weights_.get(),
              algorithm,
              bytes);
        });
  }

  /// Takes the fastest algorithm, as cuDNN guesses, of those that give the same bits every time and make do with the
  /// workspace.
  template <class Found, class List, class Measure>
  void choose(Pass<Found>& pass, const List& list, const Measure& measure) {
    constexpr int kMost = 32;
    Found found[kMost];
    int count = 0;
    if (!does(list(kMost, &count, found))) return;
    for (int i = 0; i < count; ++i) {
      const Found& candidate = found[i];
      if (candidate.status != CUDNN_STATUS_SUCCESS || candidate.determinism != CUDNN_DETERMINISTIC) continue;
      // An algorithm is one of the list only together with its kind of arithmetic.
      if (chooses_math()) check(cudnnSetConvolutionMathType(pass.descriptor.get(), candidate.mathType));
      std::size_t bytes = 0;
      if (!does(measure(candidate.algo, &bytes)) || bytes > kWorkspaceBytes) continue;
      pass.algorithm = candidate.algo;
      pass.workspace_bytes = bytes;
      return;
    }
  }

  Context& context_;
  /// F64, and BF16, where cuDNN knows x, y and weights of one type only.
  bool wide_, narrow_;
  /// Of x, y and, for a pass, the weights.
  cudnnTensorFormat_t format_;
  PassWeights in_memory_;
  std::string what_;
  TensorDescriptor x_, y_;
  FilterDescriptor weights_;
  Pass<cudnnConvolutionFwdAlgoPerf_t> forward_;
  Pass<cudnnConvolutionBwdDataAlgoPerf_t> input_gradient_;
  Pass<cudnnConvolutionBwdFilterAlgoPerf_t> weight_gradient_;
  /// For what cuDNN does not do.
  std::unique_ptr<ConvolutionPasses> others_;
};

TurnedPasses::TurnedPasses(CudaBackend& backend, Context& context, DType dtype, const ConvolutionShape& shape)
    : backend_(backend), dtype_(dtype) {
  const auto images = [&](Index channels, Index pixels) {
    const auto bytes = static_cast<std::size_t>(shape.batch * channels * pixels) * size_of(dtype);
    return Images{shape.batch, channels, pixels, (bytes + 63) / 64 * 64};
  };
  x_ = images(shape.channels, shape.height * shape.width);
  y_ = images(shape.num_output, shape.out_h() * shape.out_w());
  ConvolutionShape nchw = shape;
  nchw.nhwc = false;
  passes_ = std::make_unique<CudnnPasses>(backend, context, dtype, nchw);
}

}  // namespace

std::unique_ptr<Linear> CudaBackend::convolution(DType dtype, const ConvolutionShape& shape, Activation activation) {
  return std::make_unique<ConvolutionPlan>(
      context_,
      dtype,
      std::make_unique<CudnnPasses>(*this, context_, dtype, shape),
      channels_of(shape.batch, shape.num_output, shape.out_h() * shape.out_w(), shape.nhwc),
      activation,
      false);
}

std::unique_ptr<Linear> CudaBackend::deconvolution(DType dtype, const ConvolutionShape& shape, Activation activation) {
  return std::make_unique<ConvolutionPlan>(
      context_,
      dtype,
      std::make_unique<CudnnPasses>(*this, context_, dtype, shape),
      channels_of(shape.batch, shape.channels, shape.height * shape.width, shape.nhwc),
      activation,
      true);
}

}  // namespace sparknet::kernels::cuda
