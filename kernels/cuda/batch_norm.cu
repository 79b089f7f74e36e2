#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"
#include "kernels/cuda/functions.h"

namespace sparknet::kernels::cuda {
namespace {

/// Numbers of a channel, kept in the state: what it is shifted and scaled by, and of a backward pass the mean of the
/// gradient and of its product with y.
struct ChannelNumbers {
  double shift, scale, mean, slope;
};

struct KeepNumbers {
  ChannelNumbers* numbers;

  __device__ void operator()(Index c, double mean, double factor) const {
    numbers[c].shift = mean;
    numbers[c].scale = factor;
  }
};

__device__ double scale_for(double variance, double eps) {
  return 1 / std::sqrt(variance + eps);
}

/// Calls keep(c, mean, factor) for each channel.
template <class T, class Keep, class A = Arithmetic<T>>
void take_moments(
    Context& context, const ChannelShape& shape, double eps, double fade, const T* x, const RunningMoments& running,
    const Keep& keep) {
  const Index inner = shape.inner;
  const double n = static_cast<double>(shape.outer * inner), unbiased = n > 1 ? n / (n - 1) : 1;
  A *const means = static_cast<A*>(running.mean), *const variances = static_cast<A*>(running.variance);
  A* const factor = static_cast<A*>(running.factor);
  if (n == 0) {
    for_each(context, "moments of nothing", shape.channels, [=] __device__(Index c) { keep(c, 0, scale_for(0, eps)); });
    return;
  }
  reduce_channels(
      context,
      "moments of a batch",
      shape,
      Pair{0, 0},
      [=] __device__(Index c, Index i) {
        // From a number of the channel's own, so that squares far from 0 keep their digits.
        const double distance = static_cast<double>(x[i]) - static_cast<double>(x[c * inner]);
        return Pair{distance, distance * distance};
      },
      AddPairs{},
      [=] __device__(Index c, Pair sums) {
        const double distance = sums.first / n, mean = static_cast<double>(x[c * inner]) + distance;
        const double rest = sums.second / n - distance * distance, variance = rest < 0 ? 0 : rest;
        means[c] = static_cast<A>(fade * static_cast<double>(means[c]) + mean);
        variances[c] = static_cast<A>(fade * static_cast<double>(variances[c]) + unbiased * variance);
        keep(c, mean, scale_for(variance, eps));
        if (c == 0) *factor = static_cast<A>(fade * static_cast<double>(*factor) + 1);
      });
}

template <class T, class Keep>
void use_running(Context& context, Index channels, double eps, const RunningMoments& running, const Keep& keep) {
  const T *const means = static_cast<const T*>(running.mean), *const variances =
                                                                  static_cast<const T*>(running.variance);
  const T* const factor = static_cast<const T*>(running.factor);
  for_each(context, "running moments", channels, [=] __device__(Index c) {
    const double share = *factor == T(0) ? 0 : 1 / static_cast<double>(*factor);
    keep(c, share * static_cast<double>(means[c]), scale_for(share * static_cast<double>(variances[c]), eps));
  });
}

template <class T, class A = Arithmetic<T>>
void normalise(Context& context, const ChannelShape& shape, const T* x, const ChannelNumbers* numbers, T* y) {
  write_channels(context, "batch normalisation", shape, y, [=] __device__(Index c, Index i) {
    return (x[i] - static_cast<A>(numbers[c].shift)) * static_cast<A>(numbers[c].scale);
  });
}

template <class T, class A = Arithmetic<T>>
void gradient(Context& context, const ChannelShape& shape, const T* y, const T* dy, ChannelNumbers* numbers, T* dx) {
  const double n = static_cast<double>(shape.outer * shape.inner);
  reduce_channels(
      context,
      "gradient of a batch's moments",
      shape,
      Pair{0, 0},
      [=] __device__(Index, Index i) {
        const double top = static_cast<double>(dy[i]);
        return Pair{top, top * static_cast<double>(y[i])};
      },
      AddPairs{},
      [=] __device__(Index c, Pair sums) {
        numbers[c].mean = sums.first / n;
        numbers[c].slope = sums.second / n;
      });
  write_channels(context, "gradient of a batch normalisation", shape, dx, [=] __device__(Index c, Index i) {
    const ChannelNumbers now = numbers[c];
    return static_cast<A>(now.scale) * (dy[i] - static_cast<A>(now.mean) - static_cast<A>(now.slope) * y[i]);
  });
}

template <class T, class A = Arithmetic<T>>
void scale(Context& context, const ChannelShape& shape, const ChannelNumbers* numbers, const T* dy, T* dx) {
  write_channels(context, "gradient of a batch normalisation", shape, dx, [=] __device__(Index c, Index i) {
    return static_cast<A>(numbers[c].scale) * dy[i];
  });
}

template <class T>
class BatchNormPlan final : public BatchNorm {
 public:
  BatchNormPlan(Context& context, const ChannelShape& shape, double eps)
      : context_(context), shape_(shape), eps_(eps) {}

  std::size_t state_bytes() const override {
    return static_cast<std::size_t>(shape_.channels) * sizeof(ChannelNumbers);
  }

  void forward(const void* x, double fade, const RunningMoments& running, void* y, void* state) override {
    take_moments(context_, shape_, eps_, fade, in<T>(x), running, KeepNumbers{numbers(state)});
    normalise(context_, shape_, in<T>(x), numbers(state), static_cast<T*>(y));
  }
  void backward(const void* y, void* state, const void* dy, void* dx) override {
    gradient(context_, shape_, in<T>(y), in<T>(dy), numbers(state), static_cast<T*>(dx));
  }
  void forward_by_running(const void* x, const RunningMoments& running, void* y, void* state) override {
    use_running<Arithmetic<T>>(context_, shape_.channels, eps_, running, KeepNumbers{numbers(state)});
    normalise(context_, shape_, in<T>(x), numbers(state), static_cast<T*>(y));
  }
  void backward_by_running(const void* state, const void* dy, void* dx) override {
    scale(context_, shape_, static_cast<const ChannelNumbers*>(state), in<T>(dy), static_cast<T*>(dx));
  }

 private:
  static ChannelNumbers* numbers(void* state) { return static_cast<ChannelNumbers*>(state); }

  Context& context_;
  ChannelShape shape_;
  double eps_;
};

/// What a scaled batch normalisation does, with a number of each kind for each channel:
/// y = activation((x - shift) * gain + bias).
template <class T, class A = Arithmetic<T>>
struct ScaledChannels {
  A *shift, *factor, *gain, *bias;
  bool relu;
  A slope;

  __device__ A distance(Index c, T x) const { return x - shift[c]; }
  __device__ A before_activation(Index c, T x) const { return distance(c, x) * gain[c] + bias[c]; }
  __device__ A output(Index c, T x) const {
    const A sum = before_activation(c, x);
    return relu ? rectified(sum, slope) : sum;
  }
  /// dy before the activation, whose input is had again sooner than its output is read.
  __device__ A gradient(Index c, T x, T dy) const {
    return relu ? gated<A>(before_activation(c, x), dy, slope) : static_cast<A>(dy);
  }
};

template <class T, class A = Arithmetic<T>>
struct KeepScaled {
  ScaledChannels<T> of;
  const A *scale, *bias;

  __device__ void operator()(Index c, double mean, double factor) const {
    of.shift[c] = static_cast<A>(mean);
    of.factor[c] = static_cast<A>(factor);
    of.gain[c] = static_cast<A>(factor * static_cast<double>(scale[c]));
    of.bias[c] = bias ? bias[c] : A(0);
  }
};

template <class T, class A = Arithmetic<T>>
void write_outputs(Context& context, const ChannelShape& shape, const ScaledChannels<T>& by, const T* x, T* y) {
  write_channels(context, "scaled batch normalisation", shape, y, [=] __device__(Index c, Index i) {
    return by.output(c, x[i]);
  });
}

/// Adds up the gradients of scale and bias; and, unless they are null, what is taken off the gradient of x.
template <class T, class A = Arithmetic<T>>
void sum_gradients(
    Context& context, const ChannelShape& shape, const ScaledChannels<T>& by, const ScaledBatchNormGradients& args,
    A* mean, A* slope) {
  const T *const x = in<T>(args.x), *const dy = in<T>(args.dy);
  A *const dscale = out<A>(args.dscale), *const dbias = out<A>(args.dbias);
  const double n = static_cast<double>(shape.outer * shape.inner);
  const bool adds = args.accumulate;
  reduce_channels(
      context,
      "gradients of a scaled batch normalisation",
      shape,
      Pair{0, 0},
      [=] __device__(Index c, Index i) {
        const double top = static_cast<double>(by.gradient(c, x[i], dy[i]));
        return Pair{top, top * static_cast<double>(by.distance(c, x[i]))};
      },
      AddPairs{},
      [=] __device__(Index c, Pair sums) {
        const double factor = static_cast<double>(by.factor[c]), product = factor * sums.second;
        if (dscale) dscale[c] = static_cast<A>((adds ? static_cast<double>(dscale[c]) : 0) + product);
        if (dbias) dbias[c] = static_cast<A>((adds ? static_cast<double>(dbias[c]) : 0) + sums.first);
        if (!mean) return;
        mean[c] = static_cast<A>(sums.first / n);
        slope[c] = static_cast<A>(factor * product / n);
      });
}

template <class T>
class ScaledBatchNormPlan final : public ScaledBatchNorm {
 public:
  ScaledBatchNormPlan(Context& context, const ChannelShape& shape, double eps, Activation activation)
      : context_(context), shape_(shape), eps_(eps), activation_(activation) {}

  std::size_t state_bytes() const override { return numbers(4); }
  std::size_t scratch_bytes() const override { return numbers(2); }

  void forward(
      const void* x, double fade, const RunningMoments& running, const void* scale, const void* bias, void* y,
      void* state) override {
    take_moments(context_, shape_, eps_, fade, in<T>(x), running, keep(scale, bias, state));
    write_outputs(context_, shape_, channels(state), in<T>(x), out<T>(y));
  }
  void forward_by_running(
      const void* x, const RunningMoments& running, const void* scale, const void* bias, void* y,
      void* state) override {
    use_running<A>(context_, shape_.channels, eps_, running, keep(scale, bias, state));
    write_outputs(context_, shape_, channels(state), in<T>(x), out<T>(y));
  }
  void recompute(const void* x, const void*, const void*, void* y, const void* state) override {
    write_outputs(context_, shape_, channels(state), in<T>(x), out<T>(y));
  }

  void backward(const ScaledBatchNormGradients& args, const void* state, void* scratch) override {
    const ScaledChannels<T> by = channels(state);
    A *const mean = out<A>(scratch), *const slope = mean + shape_.channels;
    sum_gradients(context_, shape_, by, args, mean, slope);
    if (!args.dx) return;
    const T *const x = in<T>(args.x), *const dy = in<T>(args.dy);
    write_channels(
        context_,
        "gradient of a scaled batch normalisation",
        shape_,
        out<T>(args.dx),
        [=] __device__(Index c, Index i) {
          return by.gain[c] * (by.gradient(c, x[i], dy[i]) - mean[c] - slope[c] * by.distance(c, x[i]));
        });
  }
  void backward_by_running(const ScaledBatchNormGradients& args, const void* state, void*) override {
    const ScaledChannels<T> by = channels(state);
    if (args.dscale || args.dbias) sum_gradients<T, A>(context_, shape_, by, args, nullptr, nullptr);
    if (!args.dx) return;
    const T *const x = in<T>(args.x), *const dy = in<T>(args.dy);
    write_channels(
        context_,
        "gradient of a scaled batch normalisation",
        shape_,
        out<T>(args.dx),
        [=] __device__(Index c, Index i) { return by.gain[c] * by.gradient(c, x[i], dy[i]); });
  }

 private:
  using A = Arithmetic<T>;

  /// Of so many numbers for each channel.
  std::size_t numbers(Index kinds) const { return static_cast<std::size_t>(kinds * shape_.channels) * sizeof(A); }
  ScaledChannels<T> channels(const void* state) const {
    A* const first = static_cast<A*>(const_cast<void*>(state));
    const Index n = shape_.channels;
    return {
        first,
        first + n,
        first + 2 * n,
        first + 3 * n,
        activation_.relu,
        static_cast<A>(activation_.negative_slope)};
  }

  KeepScaled<T> keep(const void* scale, const void* bias, void* state) const {
    return {channels(state), in<A>(scale), in<A>(bias)};
  }

  Context& context_;
  ChannelShape shape_;
  double eps_;
  Activation activation_;
};

}  // namespace

std::unique_ptr<ScaledBatchNorm> CudaBackend::scaled_batch_norm(
    DType dtype, const ChannelShape& shape, double eps, Activation activation) {
  std::unique_ptr<ScaledBatchNorm> made;
  with_blob_type(dtype, [&](auto zero) {
    made = std::make_unique<ScaledBatchNormPlan<decltype(zero)>>(context_, shape, eps, activation);
  });
  return made;
}

std::unique_ptr<BatchNorm> CudaBackend::batch_norm(DType dtype, const ChannelShape& shape, double eps) {
  std::unique_ptr<BatchNorm> made;
  with_blob_type(dtype, [&](auto zero) {
    made = std::make_unique<BatchNormPlan<decltype(zero)>>(context_, shape, eps);
  });
  return made;
}

}  // namespace sparknet::kernels::cuda
