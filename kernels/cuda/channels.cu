#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"

namespace sparknet::kernels::cuda {
namespace {

template <class T>
void affine(Context& context, const ChannelShape& shape, const T* x, const T* scale, const T* bias, T* y) {
  for_channel_elements(context, "scale and bias", shape, [=] __device__(Index c, Index i) {
    const T product = scale ? scale[c] * x[i] : x[i];
    y[i] = bias ? product + bias[c] : product;
  });
}

template <class T>
void affine_backward(Context& context, const ChannelShape& shape, const ChannelGradients& args) {
  const T *const x = static_cast<const T*>(args.x), *const scale = static_cast<const T*>(args.factor);
  const T* const dy = static_cast<const T*>(args.dy);
  T *const dscale = static_cast<T*>(args.dfactor), *const dbias = static_cast<T*>(args.dbias);
  T* const dx = static_cast<T*>(args.dx);
  const bool adds_scale = args.accumulate_factor, adds_bias = args.accumulate_bias;
  if (dscale || dbias) {
    reduce_channels(
        context,
        "gradient of scale and bias",
        shape,
        Pair{0, 0},
        [=] __device__(Index c, Index i) {
          // In the same pass, as every element is loaded once.
          const T top = dy[i];
          if (dx) dx[i] = scale ? scale[c] * top : top;
          return Pair{dscale ? static_cast<double>(top) * static_cast<double>(x[i]) : 0, static_cast<double>(top)};
        },
        AddPairs{},
        [=] __device__(Index c, Pair sums) {
          if (dscale) dscale[c] = static_cast<T>((adds_scale ? static_cast<double>(dscale[c]) : 0) + sums.first);
          if (dbias) dbias[c] = static_cast<T>((adds_bias ? static_cast<double>(dbias[c]) : 0) + sums.second);
        });
    return;
  }
  if (!dx) return;
  if (scale)
    for_channel_elements(context, "gradient through a scale", shape, [=] __device__(Index c, Index i) {
      dx[i] = scale[c] * dy[i];
    });
  else if (dx != dy)
    for_each(context, "gradient through a bias", shape.outer * shape.channels * shape.inner, [=] __device__(Index i) {
      dx[i] = dy[i];
    });
}

template <class T>
void prelu(Context& context, const ChannelShape& shape, const T* x, const T* slope, T* y) {
  for_channel_elements(context, "PReLU", shape, [=] __device__(Index c, Index i) {
    y[i] = x[i] < T(0) ? slope[c] * x[i] : x[i];
  });
}

template <class T>
void prelu_backward(Context& context, const ChannelShape& shape, const ChannelGradients& args) {
  const T *const x = static_cast<const T*>(args.x), *const slope = static_cast<const T*>(args.factor);
  const T* const dy = static_cast<const T*>(args.dy);
  T *const dx = static_cast<T*>(args.dx), *const dslope = static_cast<T*>(args.dfactor);
  const bool adds = args.accumulate_factor;
  if (dslope) {
    reduce_channels(
        context,
        "gradient of slopes",
        shape,
        0.0,
        [=] __device__(Index c, Index i) {
          const T top = dy[i], v = x[i];
          if (dx) dx[i] = v > T(0) ? top : slope[c] * top;
          return v > T(0) ? 0.0 : static_cast<double>(top) * static_cast<double>(v);
        },
        [] __device__(double a, double b) { return a + b; },
        [=] __device__(Index c, double sum) {
          dslope[c] = static_cast<T>((adds ? static_cast<double>(dslope[c]) : 0) + sum);
        });
    return;
  }
  if (dx)
    for_channel_elements(context, "gradient through a PReLU", shape, [=] __device__(Index c, Index i) {
      dx[i] = x[i] > T(0) ? dy[i] : slope[c] * dy[i];
    });
}

template <class T>
class ChannelPlan final : public Channels {
 public:
  ChannelPlan(Context& context, const ChannelShape& shape) : context_(context), shape_(shape) {}

  std::size_t scratch_bytes() const override { return 0; }
  void affine(const void* x, const void* scale, const void* bias, void* y) override {
    cuda::affine(context_, shape_, in<T>(x), in<T>(scale), in<T>(bias), static_cast<T*>(y));
  }
  void affine_backward(const ChannelGradients& args, void*) override {
    cuda::affine_backward<T>(context_, shape_, args);
  }
  void prelu(const void* x, const void* slope, void* y) override {
    cuda::prelu(context_, shape_, in<T>(x), in<T>(slope), static_cast<T*>(y));
  }
  void prelu_backward(const ChannelGradients& args, void*) override { cuda::prelu_backward<T>(context_, shape_, args); }

 private:
  Context& context_;
  ChannelShape shape_;
};

}  // namespace

std::unique_ptr<Channels> CudaBackend::channels(DType dtype, const ChannelShape& shape) {
  if (dtype == DType::F64) return std::make_unique<ChannelPlan<double>>(context_, shape);
  return std::make_unique<ChannelPlan<float>>(context_, shape);
}

}  // namespace sparknet::kernels::cuda
