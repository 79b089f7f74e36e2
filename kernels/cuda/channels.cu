#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"

namespace sparknet::kernels::cuda {
namespace {

template <class T, class A = Arithmetic<T>>
void affine(Context& context, const ChannelShape& shape, const T* x, const A* scale, const A* bias, T* y) {
  write_channels(context, "scale and bias", shape, y, [=] __device__(Index c, Index i) {
    const A product = scale ? scale[c] * x[i] : x[i];
    return bias ? product + bias[c] : product;
  });
}

template <class T, class A = Arithmetic<T>>
void affine_backward(Context& context, const ChannelShape& shape, const ChannelGradients& args) {
  const T *const x = static_cast<const T*>(args.x), *const dy = static_cast<const T*>(args.dy);
  const A* const scale = static_cast<const A*>(args.factor);
  A *const dscale = static_cast<A*>(args.dfactor), *const dbias = static_cast<A*>(args.dbias);
  T* const dx = static_cast<T*>(args.dx);
  const bool adds_scale = args.accumulate_factor, adds_bias = args.accumulate_bias;
  if (dscale || dbias) {
    reduce_channels(
        context,
        "gradient of scale and bias",
        shape,
        Pair{0, 0},
        [=] __device__(Index, Index i) {
          return Two<A>{dy[i], dscale ? static_cast<A>(x[i]) : A(0)};
        },
        [=] __device__(Index c, Index i, Two<A> read) {
          // In the same pass, as every element is loaded once.
          const A top = read.first;
          if (dx) dx[i] = static_cast<T>(scale ? scale[c] * top : top);
          return Pair{
              dscale ? static_cast<double>(top) * static_cast<double>(read.second) : 0,
              static_cast<double>(top)};
        },
        AddPairs{},
        [=] __device__(Index c, Pair sums) {
          if (dscale) dscale[c] = static_cast<A>((adds_scale ? static_cast<double>(dscale[c]) : 0) + sums.first);
          if (dbias) dbias[c] = static_cast<A>((adds_bias ? static_cast<double>(dbias[c]) : 0) + sums.second);
        });
    return;
  }
  if (!dx) return;
  if (scale)
    write_channels(context, "gradient through a scale", shape, dx, [=] __device__(Index c, Index i) {
      return scale[c] * dy[i];
    });
  else if (dx != dy)
    write_each(
        context,
        "gradient through a bias",
        shape.outer * shape.channels * shape.inner,
        dx,
        [=] __device__(Index i) { return dy[i]; });
}

template <class T, class A = Arithmetic<T>>
void prelu(Context& context, const ChannelShape& shape, const T* x, const A* slope, T* y) {
  write_channels(context, "PReLU", shape, y, [=] __device__(Index c, Index i) {
    const A v = x[i];
    return v < A(0) ? slope[c] * v : v;
  });
}

template <class T, class A = Arithmetic<T>>
void prelu_backward(Context& context, const ChannelShape& shape, const ChannelGradients& args) {
  const T *const x = static_cast<const T*>(args.x), *const dy = static_cast<const T*>(args.dy);
  const A* const slope = static_cast<const A*>(args.factor);
  T* const dx = static_cast<T*>(args.dx);
  A* const dslope = static_cast<A*>(args.dfactor);
  const bool adds = args.accumulate_factor;
  if (dslope) {
    reduce_channels(
        context,
        "gradient of slopes",
        shape,
        0.0,
        [=] __device__(Index, Index i) {
          return Two<A>{dy[i], x[i]};
        },
        [=] __device__(Index c, Index i, Two<A> read) {
          const A top = read.first, v = read.second;
          if (dx) dx[i] = static_cast<T>(v > A(0) ? top : slope[c] * top);
          return v > A(0) ? 0.0 : static_cast<double>(top) * static_cast<double>(v);
        },
        [] __device__(double a, double b) { return a + b; },
        [=] __device__(Index c, double sum) {
          dslope[c] = static_cast<A>((adds ? static_cast<double>(dslope[c]) : 0) + sum);
        });
    return;
  }
  if (dx)
    write_channels(context, "gradient through a PReLU", shape, dx, [=] __device__(Index c, Index i) {
      const A top = dy[i];
      return x[i] > A(0) ? top : slope[c] * top;
    });
}

template <class T, class A = Arithmetic<T>>
class ChannelPlan final : public Channels {
 public:
  ChannelPlan(Context& context, const ChannelShape& shape) : context_(context), shape_(shape) {}

  std::size_t scratch_bytes() const override { return 0; }
  void affine(const void* x, const void* scale, const void* bias, void* y) override {
    cuda::affine(context_, shape_, in<T>(x), in<A>(scale), in<A>(bias), static_cast<T*>(y));
  }
  void affine_backward(const ChannelGradients& args, void*) override {
    cuda::affine_backward<T>(context_, shape_, args);
  }
  void prelu(const void* x, const void* slope, void* y) override {
    cuda::prelu(context_, shape_, in<T>(x), in<A>(slope), static_cast<T*>(y));
  }
  void prelu_backward(const ChannelGradients& args, void*) override { cuda::prelu_backward<T>(context_, shape_, args); }

 private:
  Context& context_;
  ChannelShape shape_;
};

}  // namespace

std::unique_ptr<Channels> CudaBackend::channels(DType dtype, const ChannelShape& shape) {
  std::unique_ptr<Channels> made;
  with_blob_type(dtype, [&](auto zero) { made = std::make_unique<ChannelPlan<decltype(zero)>>(context_, shape); });
  return made;
}

}  // namespace sparknet::kernels::cuda
