#include "kernels/cpu/channels.h"

#include <algorithm>

namespace sparknet::kernels::cpu {
namespace {

/// Borders between threads, in elements and in channels.
constexpr Index kUnit = 64, kChannelUnit = 8;
/// Enough for all threads to have some.
constexpr Index kManyChannels = 64;

template <class T>
const T* in(const void* p, Index at) {
  return p ? static_cast<const T*>(p) + at : nullptr;
}
template <class T>
T* out(void* p, Index at) {
  return p ? static_cast<T*>(p) + at : nullptr;
}

template <class T>
class ChannelPlan final : public Channels {
 public:
  ChannelPlan(Engine& engine, const ChannelShape& shape) : team_(engine.team), hot_(table<T>(engine)), shape_(shape) {
    if (shape.channels == 1) shape_ = {1, 1, shape.outer * shape.inner};
    count_ = shape_.outer * shape_.channels * shape_.inner;
    // As many elements to each part that adding the parts up is nothing beside them.
    if (shape_.channels < kManyChannels) parts_ = sum_parts(count_, std::max(kWorthWaking, 64 * shape_.channels));
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(2 * parts_ * shape_.channels) * sizeof(double);
  }

  void affine(const void* x, const void* scale, const void* bias, void* y) override {
    for_ranges(team_, count_, kUnit, kWorthWaking, [&](Index begin, Index end) {
      walk(
          begin,
          end,
          [&](Index c, Index at, Index n) {
            const T a = scale ? *in<T>(scale, c) : T(1), b = bias ? *in<T>(bias, c) : T(0);
            hot_.affine(n, a, b, in<T>(x, at), out<T>(y, at));
          },
          [&](Index c, Index at, Index n) {
            hot_.affine_each(n, in<T>(scale, c), in<T>(bias, c), in<T>(x, at), out<T>(y, at));
          });
    });
  }

  void affine_backward(const ChannelGradients& args, void* scratch) override {
    // Without an x the sum of dy * dy is made and not looked at: that costs no memory traffic.
    const void* const x = args.dfactor ? args.x : args.dy;
    reduce(
        args,
        scratch,
        [&](Index c, Index at, Index n, double* products, double* sums) {
          const T scale = args.factor ? *in<T>(args.factor, c) : T(1);
          const Sums sum = hot_.affine_backward(n, scale, in<T>(x, at), in<T>(args.dy, at), out<T>(args.dx, at));
          products[c] += sum.first;
          sums[c] += sum.second;
        },
        [&](Index c, Index at, Index n, double* products, double* sums) {
          hot_.affine_backward_each(
              n,
              in<T>(args.factor, c),
              in<T>(x, at),
              in<T>(args.dy, at),
              out<T>(args.dx, at),
              args.dfactor ? products + c : nullptr,
              args.dbias ? sums + c : nullptr);
        });
  }

  void prelu(const void* x, const void* slope, void* y) override {
    for_ranges(team_, count_, kUnit, kWorthWaking, [&](Index begin, Index end) {
      walk(
          begin,
          end,
          [&](Index c, Index at, Index n) { hot_.relu(n, *in<T>(slope, c), in<T>(x, at), out<T>(y, at)); },
          [&](Index c, Index at, Index n) { hot_.prelu_each(n, in<T>(slope, c), in<T>(x, at), out<T>(y, at)); });
    });
  }

  void prelu_backward(const ChannelGradients& args, void* scratch) override {
    reduce(
        args,
        scratch,
        [&](Index c, Index at, Index n, double* products, double*) {
          const T slope = *in<T>(args.factor, c);
          products[c] += hot_.prelu_backward(n, slope, in<T>(args.x, at), in<T>(args.dy, at), out<T>(args.dx, at));
        },
        [&](Index c, Index at, Index n, double* products, double*) {
          hot_.prelu_backward_each(
              n,
              in<T>(args.factor, c),
              in<T>(args.x, at),
              in<T>(args.dy, at),
              out<T>(args.dx, at),
              args.dfactor ? products + c : nullptr);
        });
  }

 private:
  /// Cuts the elements [begin, end) where channels end and calls row(channel, first element, count); where a channel is
  /// one element wide calls each(first channel, first element, count) for neighbours.
  template <class Row, class Each>
  void walk(Index begin, Index end, Row&& row, Each&& each) const {
    const Index channels = shape_.channels, inner = shape_.inner;
    while (begin < end) {
      const Index c = begin / inner % channels;
      const Index border = inner == 1 ? begin - c + channels : (begin / inner + 1) * inner;
      const Index n = std::min(end, border) - begin;
      if (inner == 1) {
        each(c, begin, n);
      } else {
        row(c, begin, n);
      }
      begin += n;
    }
  }

  /// Walks over all elements on all threads, with two sums for each channel, then writes the sums.
  template <class Row, class Each>
  void reduce(const ChannelGradients& args, void* scratch, Row&& row, Each&& each) {
    const Index channels = shape_.channels;
    const auto walk_into = [&](Index begin, Index end, double* products, double* sums) {
      walk(
          begin,
          end,
          [&](Index c, Index at, Index n) { row(c, at, n, products, sums); },
          [&](Index c, Index at, Index n) { each(c, at, n, products, sums); });
    };
    double* const room = static_cast<double*>(scratch);
    if (parts_ == 1) {
      double *const products = room, *const sums = room + channels;
      for_ranges(
          team_,
          channels,
          kChannelUnit,
          1 + kWorthWaking * channels / std::max<Index>(1, count_),
          [&](Index begin, Index end) {
            std::fill(products + begin, products + end, 0.0);
            std::fill(sums + begin, sums + end, 0.0);
            for (Index o = 0; o < shape_.outer; ++o) {
              const Index at = o * channels;
              walk_into((at + begin) * shape_.inner, (at + end) * shape_.inner, products, sums);
            }
            store_sums(args, begin, end, products, sums);
          });
      return;
    }
    for_parts(team_, count_, parts_, [&](Index part, Index begin, Index end) {
      double* const products = room + 2 * part * channels;
      std::fill_n(products, 2 * channels, 0.0);
      walk_into(begin, end, products, products + channels);
    });
    for (int part = 1; part < parts_; ++part) {
      const double* const more = room + 2 * part * channels;
      for (Index i = 0; i < 2 * channels; ++i) room[i] += more[i];
    }
    store_sums(args, 0, channels, room, room + channels);
  }

  static void store_sums(
      const ChannelGradients& args, Index begin, Index end, const double* products, const double* sums) {
    const auto store = [&](const double* from, void* to, bool accumulate) {
      if (!to) return;
      for (Index c = begin; c < end; ++c) {
        T& target = *out<T>(to, c);
        target = static_cast<T>((accumulate ? static_cast<double>(target) : 0) + from[c]);
      }
    };
    store(products, args.dfactor, args.accumulate_factor);
    store(sums, args.dbias, args.accumulate_bias);
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  ChannelShape shape_;
  Index count_ = 0;
  /// The elements are summed in so many parts, or, if one, each thread sums channels of its own.
  int parts_ = 1;
};

}  // namespace

std::unique_ptr<Channels> make_channels(Engine& engine, DType dtype, const ChannelShape& shape) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Channels> {
    using T = decltype(zero);
    return std::make_unique<ChannelPlan<T>>(engine, shape);
  });
}

}  // namespace sparknet::kernels::cpu
