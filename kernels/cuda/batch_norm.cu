#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"

namespace sparknet::kernels::cuda {
namespace {

/// Numbers of a channel, kept in the state: what it is shifted and scaled by, and of a backward pass the mean of the
/// gradient and of its product with y.
struct ChannelNumbers {
  double shift, scale, mean, slope;
};

__device__ double scale_for(double variance, double eps) {
  return 1 / std::sqrt(variance + eps);
}

template <class T, class A = Arithmetic<T>>
void take_moments(
    Context& context, const ChannelShape& shape, double eps, double fade, const T* x, const RunningMoments& running,
    ChannelNumbers* numbers) {
  const Index inner = shape.inner;
  const double n = static_cast<double>(shape.outer * inner), unbiased = n > 1 ? n / (n - 1) : 1;
  A *const means = static_cast<A*>(running.mean), *const variances = static_cast<A*>(running.variance);
  A* const factor = static_cast<A*>(running.factor);
  if (n == 0) return;
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
        numbers[c].shift = mean;
        numbers[c].scale = scale_for(variance, eps);
        if (c == 0) *factor = static_cast<A>(fade * static_cast<double>(*factor) + 1);
      });
}

template <class T>
void use_running(Context& context, Index channels, double eps, const RunningMoments& running, ChannelNumbers* numbers) {
  const T *const means = static_cast<const T*>(running.mean), *const variances =
                                                                  static_cast<const T*>(running.variance);
  const T* const factor = static_cast<const T*>(running.factor);
  for_each(context, "running moments", channels, [=] __device__(Index c) {
    const double share = *factor == T(0) ? 0 : 1 / static_cast<double>(*factor);
    numbers[c].shift = share * static_cast<double>(means[c]);
    numbers[c].scale = scale_for(share * static_cast<double>(variances[c]), eps);
  });
}

template <class T, class A = Arithmetic<T>>
void normalise(Context& context, const ChannelShape& shape, const T* x, const ChannelNumbers* numbers, T* y) {
  for_channel_elements(context, "batch normalisation", shape, [=] __device__(Index c, Index i) {
    y[i] = static_cast<T>((x[i] - static_cast<A>(numbers[c].shift)) * static_cast<A>(numbers[c].scale));
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
  for_channel_elements(context, "gradient of a batch normalisation", shape, [=] __device__(Index c, Index i) {
    const ChannelNumbers now = numbers[c];
    dx[i] = static_cast<T>(
        static_cast<A>(now.scale) * (dy[i] - static_cast<A>(now.mean) - static_cast<A>(now.slope) * y[i]));
  });
}

template <class T, class A = Arithmetic<T>>
void scale(Context& context, const ChannelShape& shape, const ChannelNumbers* numbers, const T* dy, T* dx) {
  for_channel_elements(context, "gradient of a batch normalisation", shape, [=] __device__(Index c, Index i) {
    dx[i] = static_cast<T>(static_cast<A>(numbers[c].scale) * dy[i]);
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
    take_moments(context_, shape_, eps_, fade, in<T>(x), running, numbers(state));
    normalise(context_, shape_, in<T>(x), numbers(state), static_cast<T*>(y));
  }
  void backward(const void* y, void* state, const void* dy, void* dx) override {
    gradient(context_, shape_, in<T>(y), in<T>(dy), numbers(state), static_cast<T*>(dx));
  }
  void forward_by_running(const void* x, const RunningMoments& running, void* y, void* state) override {
    use_running<Arithmetic<T>>(context_, shape_.channels, eps_, running, numbers(state));
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

}  // namespace

std::unique_ptr<BatchNorm> CudaBackend::batch_norm(DType dtype, const ChannelShape& shape, double eps) {
  std::unique_ptr<BatchNorm> made;
  with_blob_type(dtype, [&](auto zero) {
    made = std::make_unique<BatchNormPlan<decltype(zero)>>(context_, shape, eps);
  });
  return made;
}

}  // namespace sparknet::kernels::cuda
