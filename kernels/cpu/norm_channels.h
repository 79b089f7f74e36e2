#pragma once

#include <cmath>

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// Channels up to this width are normalised side by side.
constexpr Index kNarrowChannel = 16;

/// The moments of the channels of a batch, x[outer][channels][inner], and the running ones.
template <class T>
class NormChannels {
 public:
  NormChannels(const ChannelShape& shape, double eps)
      : shape_(shape), numbers_(static_cast<double>(shape.outer * shape.inner)), eps_(eps) {}

  /// y = (x - shift) * factor
  struct Center {
    T shift;
    double factor;
  };

  /// Lets the running moments of channel c take in those of the batch.
  Center take(Index c, double mean, double squares, double fade, const RunningMoments& running) const {
    T *const means = static_cast<T*>(running.mean), *const variances = static_cast<T*>(running.variance);
    const double variance = squares / numbers_, unbiased = numbers_ > 1 ? numbers_ / (numbers_ - 1) : 1;
    means[c] = static_cast<T>(fade * static_cast<double>(means[c]) + mean);
    variances[c] = static_cast<T>(fade * static_cast<double>(variances[c]) + unbiased * variance);
    return {static_cast<T>(mean), factor_for(variance)};
  }
  /// After all channels.
  static void count(double fade, const RunningMoments& running) {
    T* const factor = static_cast<T*>(running.factor);
    *factor = static_cast<T>(fade * static_cast<double>(*factor) + 1);
  }
  Center running(Index c, const RunningMoments& running) const {
    const double factor = static_cast<double>(*static_cast<const T*>(running.factor));
    const double share = factor == 0 ? 0 : 1 / factor;
    return {
        static_cast<T>(share * static_cast<double>(static_cast<const T*>(running.mean)[c])),
        factor_for(share * static_cast<double>(static_cast<const T*>(running.variance)[c]))};
  }

  /// Numbers of a channel.
  double numbers() const { return numbers_; }
  /// Calls f(first element of channel c) for each example.
  template <class F>
  void for_rows(Index c, F&& f) const {
    for (Index o = 0; o < shape_.outer; ++o) f((o * shape_.channels + c) * shape_.inner);
  }

 private:
  double factor_for(double variance) const { return 1 / std::sqrt(variance + eps_); }

  ChannelShape shape_;
  double numbers_, eps_;
};

}  // namespace sparknet::kernels::cpu
