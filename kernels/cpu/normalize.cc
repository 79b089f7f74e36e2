#include "kernels/cpu/normalize.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/norm_channels.h"

namespace sparknet::kernels::cpu {
namespace {

/// Narrow channels are worked on together, a block of so many elements at a time: the vectors lie across them.
constexpr Index kBlock = 256;
constexpr Index kChannelUnit = 16;

Index worth_of(Index elements) {
  return 1 + kWorthWaking / std::max<Index>(1, elements);
}

template <class T>
class BatchNormPlan final : public BatchNorm {
 public:
  BatchNormPlan(Engine& engine, const ChannelShape& shape, double eps)
      : team_(engine.team), hot_(table<T>(engine)), shape_(shape), channels_(shape, eps) {}

  std::size_t state_bytes() const override { return static_cast<std::size_t>(shape_.channels) * sizeof(double); }

  void forward(const void* x, double fade, const RunningMoments& running, void* y, void* state) override {
    const T* const from = static_cast<const T*>(x);
    T* const to = static_cast<T*>(y);
    double* const scales = static_cast<double*>(state);
    const double n = channels_.numbers();
    // Takes the moments of channel c in and returns what they scale it by.
    const auto take = [&](Index c, double mean, double squares) {
      return scales[c] = channels_.take(c, mean, squares, fade, running).factor;
    };
    for_channels(
        [&](Index c) {
          Moments moments = {0, 0, 0};
          for_rows(c, [&](Index at) { hot_.moments(shape_.inner, from + at, &moments); });
          const T shift = static_cast<T>(moments.mean), scale = static_cast<T>(take(c, moments.mean, moments.squares));
          for_rows(c, [&](Index at) { hot_.center(shape_.inner, shift, scale, from + at, to + at); });
        },
        [&](Index c, Index channels) {
          const Index width = channels * shape_.inner;
          double mean[kBlock] = {}, squares[kBlock] = {};
          T shift[kBlock], scale[kBlock];
          for_rows(c, [&](Index at) {
            hot_.affine_backward_each(width, nullptr, nullptr, from + at, nullptr, nullptr, mean);
          });
          for_each(channels, [&](Index, Index begin, Index end) {
            std::fill(mean + begin, mean + end, sum(mean + begin, mean + end) / n);
          });
          for_rows(c, [&](Index at) { hot_.squares_each(width, mean, from + at, squares); });
          for_each(channels, [&](Index k, Index begin, Index end) {
            std::fill(shift + begin, shift + end, static_cast<T>(mean[begin]));
            const double factor_of_channel = take(c + k, mean[begin], sum(squares + begin, squares + end));
            std::fill(scale + begin, scale + end, static_cast<T>(factor_of_channel));
          });
          for_rows(c, [&](Index at) { hot_.center_each(width, shift, scale, from + at, to + at); });
        });
    channels_.count(fade, running);
  }

  void backward(const void* y, void* state, const void* dy, void* dx) override {
    const T *const values = static_cast<const T*>(y), *const top = static_cast<const T*>(dy);
    T* const to = static_cast<T*>(dx);
    const double* const scales = static_cast<const double*>(state);
    const double n = channels_.numbers();
    for_channels(
        [&](Index c) {
          Sums total = {0, 0};
          NormArgs<T> args = {shape_.inner, nullptr, T(0), T(1), nullptr, nullptr};
          const auto row = [&](Index at) {
            args.v = values + at;
            args.dy = top + at;
          };
          for_rows(c, [&](Index at) {
            row(at);
            const Sums sums = hot_.norm_sums(args);
            total.first += sums.first;
            total.second += sums.second;
          });
          const T mean = static_cast<T>(total.first / n), slope = static_cast<T>(total.second / n);
          const T scale = static_cast<T>(scales[c]);
          for_rows(c, [&](Index at) {
            row(at);
            hot_.norm_backward(args, mean, slope, scale, to + at);
          });
        },
        [&](Index c, Index channels) {
          const Index width = channels * shape_.inner;
          double sums[kBlock] = {}, products[kBlock] = {};
          T mean[kBlock], slope[kBlock], scale[kBlock];
          for_rows(c, [&](Index at) {
            hot_.affine_backward_each(width, nullptr, values + at, top + at, nullptr, products, sums);
          });
          for_each(channels, [&](Index k, Index begin, Index end) {
            std::fill(mean + begin, mean + end, static_cast<T>(sum(sums + begin, sums + end) / n));
            std::fill(slope + begin, slope + end, static_cast<T>(sum(products + begin, products + end) / n));
            std::fill(scale + begin, scale + end, static_cast<T>(scales[c + k]));
          });
          for_rows(c, [&](Index at) {
            hot_.norm_backward_each(width, mean, slope, scale, values + at, top + at, to + at);
          });
        });
  }

  void forward_by_running(const void* x, const RunningMoments& running, void* y, void* state) override {
    const T* const from = static_cast<const T*>(x);
    T* const to = static_cast<T*>(y);
    double* const scales = static_cast<double*>(state);
    const auto center_of = [&](Index c) {
      const auto center = channels_.running(c, running);
      scales[c] = center.factor;
      return center;
    };
    for_channels(
        [&](Index c) {
          const auto center = center_of(c);
          const T scale = static_cast<T>(center.factor);
          for_rows(c, [&](Index at) { hot_.center(shape_.inner, center.shift, scale, from + at, to + at); });
        },
        [&](Index c, Index channels) {
          const Index width = channels * shape_.inner;
          T shift[kBlock], scale[kBlock];
          for_each(channels, [&](Index k, Index begin, Index end) {
            const auto center = center_of(c + k);
            std::fill(shift + begin, shift + end, center.shift);
            std::fill(scale + begin, scale + end, static_cast<T>(center.factor));
          });
          for_rows(c, [&](Index at) { hot_.center_each(width, shift, scale, from + at, to + at); });
        });
  }

  void backward_by_running(const void* state, const void* dy, void* dx) override {
    const T* const top = static_cast<const T*>(dy);
    T* const to = static_cast<T*>(dx);
    const double* const scales = static_cast<const double*>(state);
    for_channels(
        [&](Index c) {
          const T scale = static_cast<T>(scales[c]);
          for_rows(c, [&](Index at) { hot_.scale(shape_.inner, scale, top + at, to + at); });
        },
        [&](Index c, Index channels) {
          const Index width = channels * shape_.inner;
          T scale[kBlock];
          for_each(channels, [&](Index k, Index begin, Index end) {
            std::fill(scale + begin, scale + end, static_cast<T>(scales[c + k]));
          });
          for_rows(c, [&](Index at) { hot_.multiply(width, scale, top + at, to + at); });
        });
  }

 private:
  /// Calls one(channel) for each channel or, where channels are narrow, block(first channel, count) for no more of them
  /// than kBlock elements hold, on all threads.
  template <class One, class Block>
  void for_channels(One&& one, Block&& block) {
    const bool narrow = shape_.inner <= kNarrowChannel;
    const Index worth = worth_of(shape_.outer * shape_.inner);
    for_ranges(team_, shape_.channels, narrow ? kChannelUnit : 1, worth, [&](Index begin, Index end) {
      if (narrow) {
        const Index step = kBlock / shape_.inner;
        for (Index c = begin; c < end; c += step) block(c, std::min(step, end - c));
      } else {
        for (Index c = begin; c < end; ++c) one(c);
      }
    });
  }

  /// Calls f(channel, begin, end) for each channel of a block, its elements being [begin, end) of the block's.
  template <class F>
  void for_each(Index channels, F&& f) const {
    for (Index k = 0; k < channels; ++k) f(k, k * shape_.inner, (k + 1) * shape_.inner);
  }

  static double sum(const double* begin, const double* end) {
    double total = 0;
    while (begin < end) total += *begin++;
    return total;
  }

  template <class F>
  void for_rows(Index c, F&& f) const {
    channels_.for_rows(c, f);
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  ChannelShape shape_;
  NormChannels<T> channels_;
};

/// What backward needs of a row: h = (x - mean) * factor, and how much faster the deviation grows than the divisor.
struct RowState {
  double mean, factor, ratio;
};

template <class T>
class LayerNormPlan final : public LayerNorm {
 public:
  LayerNormPlan(Engine& engine, const LayerNormShape& shape)
      : team_(engine.team),
        hot_(table<T>(engine)),
        shape_(shape),
        // As many rows to each part that adding the parts up is little beside them.
        parts_(sum_parts(shape.rows, std::max<Index>(worth_of(shape.size), 16))) {}

  std::size_t state_bytes() const override { return static_cast<std::size_t>(shape_.rows) * sizeof(RowState); }
  std::size_t scratch_bytes() const override {
    if (!shape_.affine) return 0;
    return static_cast<std::size_t>(2 * parts_ * shape_.size) * sizeof(double);
  }

  void forward(const void* x, const void* gamma, const void* beta, void* y, void* state) override {
    const T *const learned = static_cast<const T*>(gamma), *const shift = static_cast<const T*>(beta);
    for_ranges(team_, shape_.rows, 1, worth_of(shape_.size), [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const T* const from = static_cast<const T*>(x) + row * shape_.size;
        T* const to = static_cast<T*>(y) + row * shape_.size;
        Moments moments = {0, 0, 0};
        hot_.moments(shape_.size, from, &moments);
        const RowState now = state_of(moments);
        static_cast<RowState*>(state)[row] = now;
        const T mean = static_cast<T>(now.mean), factor = static_cast<T>(now.factor);
        if (learned) {
          hot_.center_affine(shape_.size, mean, factor, learned, shift, from, to);
        } else {
          hot_.center(shape_.size, mean, factor, from, to);
        }
      }
    });
  }

  void backward(const LayerNormGradients& args, const void* state, void* scratch) override {
    const Index size = shape_.size;
    const bool learns = args.dgamma || args.dbeta;
    double* const room = static_cast<double*>(scratch);
    if (learns) std::fill_n(room, 2 * parts_ * size, 0.0);
    for_parts(team_, shape_.rows, parts_, [&](Index part, Index begin, Index end) {
      double* const learned = learns ? room + 2 * part * size : nullptr;
      for (Index row = begin; row < end; ++row) row_backward(args, state, row, learned);
    });
    if (!learns) return;
    for (int part = 1; part < parts_; ++part) {
      const double* const more = room + 2 * part * size;
      for (Index i = 0; i < 2 * size; ++i) room[i] += more[i];
    }
    const auto store = [&](const double* from, void* to) {
      T* const target = static_cast<T*>(to);
      for (Index i = 0; target && i < size; ++i) {
        target[i] = static_cast<T>((args.accumulate ? static_cast<double>(target[i]) : 0) + from[i]);
      }
    };
    store(room, args.dgamma);
    store(room + size, args.dbeta);
  }

 private:
  /// `learned`: the sums for gamma and beta, or null.
  void row_backward(const LayerNormGradients& args, const void* state, Index row, double* learned) const {
    const Index size = shape_.size;
    const RowState& before = static_cast<const RowState*>(state)[row];
    const T* const operand = static_cast<const T*>(args.operand) + row * size;
    NormArgs<T> pass = {size, operand, T(0), T(1), nullptr, static_cast<const T*>(args.dy) + row * size};
    if (shape_.affine) {
      pass.shift = static_cast<T>(before.mean);
      pass.factor = static_cast<T>(before.factor);
      pass.gamma = static_cast<const T*>(args.gamma);
      if (learned) hot_.norm_learned(pass, learned, learned + size);
    }
    if (!args.dx) return;
    T* const dx = static_cast<T*>(args.dx) + row * size;
    const double n = static_cast<double>(size);
    if (shape_.divisor == NormDivisor::One && !shape_.affine) {
      pass.v = pass.dy;
      const T mean = static_cast<T>(hot_.norm_sums(pass).first / n);
      hot_.center(size, mean, T(1), pass.dy, dx);
      return;
    }
    const Sums sums = hot_.norm_sums(pass);
    const T mean = static_cast<T>(sums.first / n), slope = static_cast<T>(sums.second / n * before.ratio);
    hot_.norm_backward(pass, mean, slope, static_cast<T>(before.factor), dx);
  }

  RowState state_of(const Moments& moments) const {
    const double variance = moments.squares / static_cast<double>(shape_.size);
    switch (shape_.divisor) {
      case NormDivisor::One: break;
      case NormDivisor::Variance: return {moments.mean, 1 / std::sqrt(variance + shape_.eps), 1};
      case NormDivisor::Deviation: {
        const double deviation = std::sqrt(variance), divisor = deviation + shape_.eps;
        return {moments.mean, 1 / divisor, deviation > 0 ? divisor / deviation : 1};
      }
    }
    return {moments.mean, 1, 0};
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  LayerNormShape shape_;
  int parts_;
};

}  // namespace

std::unique_ptr<BatchNorm> make_batch_norm(Engine& engine, DType dtype, const ChannelShape& shape, double eps) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<BatchNorm> {
    using T = decltype(zero);
    return std::make_unique<BatchNormPlan<T>>(engine, shape, eps);
  });
}

std::unique_ptr<LayerNorm> make_layer_norm(Engine& engine, DType dtype, const LayerNormShape& shape) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<LayerNorm> {
    using T = decltype(zero);
    return std::make_unique<LayerNormPlan<T>>(engine, shape);
  });
}

}  // namespace sparknet::kernels::cpu
