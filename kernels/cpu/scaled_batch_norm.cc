#include <algorithm>

#include "kernels/cpu/norm_channels.h"
#include "kernels/cpu/normalize.h"

namespace sparknet::kernels::cpu {
namespace {

/// What backward needs of a channel: h = (x - shift) * factor.
struct ChannelState {
  double shift, factor;
};

/// Each thread takes channels of its own and does what the three layers do, with the same kernels in the same order,
/// but row by row while that is in its cache.
template <class T>
class ScaledBatchNormPlan final : public ScaledBatchNorm {
 public:
  ScaledBatchNormPlan(Engine& engine, const ChannelShape& shape, double eps, Activation activation)
      : team_(engine.team),
        hot_(table<T>(engine)),
        shape_(shape),
        activation_(activation),
        channels_(shape, eps),
        row_(round_up(shape.inner, 64 / static_cast<Index>(sizeof(T)))) {}

  std::size_t state_bytes() const override { return static_cast<std::size_t>(shape_.channels) * sizeof(ChannelState); }
  std::size_t scratch_bytes() const override { return static_cast<std::size_t>(team_.size() * 3 * row_) * sizeof(T); }

  void forward(
      const void* x, double fade, const RunningMoments& running, const void* scale, const void* bias, void* y,
      void* state) override {
    const T* const from = static_cast<const T*>(x);
    forward_by(x, scale, bias, y, state, [&](Index c) {
      Moments moments = {0, 0, 0};
      channels_.for_rows(c, [&](Index at) { hot_.moments(shape_.inner, from + at, &moments); });
      return channels_.take(c, moments.mean, moments.squares, fade, running);
    });
    channels_.count(fade, running);
  }

  void forward_by_running(
      const void* x, const RunningMoments& running, const void* scale, const void* bias, void* y,
      void* state) override {
    forward_by(x, scale, bias, y, state, [&](Index c) { return channels_.running(c, running); });
  }

  void recompute(const void* x, const void* scale, const void* bias, void* y, const void* state) override {
    for_channels([&](Index c, int) { write(c, static_cast<const ChannelState*>(state)[c], x, scale, bias, y); });
  }

  void backward(const ScaledBatchNormGradients& args, const void* state, void* scratch) override {
    for_channels([&](Index c, int worker) {
      const Room room = room_of(scratch, worker);
      const ChannelState& before = static_cast<const ChannelState*>(state)[c];
      Sums learned = {0, 0}, total = {0, 0};
      channels_.for_rows(c, [&](Index at) {
        T* const gradient = args.dx ? static_cast<T*>(args.dx) + at : room.gradient;
        add(learned, scale_backward(args, c, at, before, room, gradient));
        add(total, hot_.norm_sums({shape_.inner, room.h, T(0), T(1), nullptr, gradient}));
      });
      store(args, c, learned);
      if (!args.dx) return;
      const double n = channels_.numbers();
      const T mean = static_cast<T>(total.first / n), slope = static_cast<T>(total.second / n);
      channels_.for_rows(c, [&](Index at) {
        T* const dx = static_cast<T*>(args.dx) + at;
        center(args.x, at, before, room.h);
        hot_.norm_backward(
            {shape_.inner, room.h, T(0), T(1), nullptr, dx},
            mean,
            slope,
            static_cast<T>(before.factor),
            dx);
      });
    });
  }

  void backward_by_running(const ScaledBatchNormGradients& args, const void* state, void* scratch) override {
    for_channels([&](Index c, int worker) {
      const Room room = room_of(scratch, worker);
      const ChannelState& before = static_cast<const ChannelState*>(state)[c];
      Sums learned = {0, 0};
      channels_.for_rows(c, [&](Index at) {
        add(learned, scale_backward(args, c, at, before, room, room.gradient));
        if (!args.dx) return;
        hot_.scale(shape_.inner, static_cast<T>(before.factor), room.gradient, static_cast<T*>(args.dx) + at);
      });
      store(args, c, learned);
    });
  }

 private:
  /// Rows of a thread: h, dy behind the activation, and dy behind the scale.
  struct Room {
    T *h, *masked, *gradient;
  };
  Room room_of(void* scratch, int worker) const {
    T* const own = static_cast<T*>(scratch) + worker * 3 * row_;
    return {own, own + row_, own + 2 * row_};
  }

  /// Calls f(channel, worker) for each channel, on all threads.
  template <class F>
  void for_channels(F&& f) {
    const bool alone = shape_.outer * shape_.channels * shape_.inner < kWorthWaking;
    const auto part = [&](int workers, int worker) {
      const Share channels = share(shape_.channels, workers, worker);
      for (Index c = channels.begin; c < channels.end; ++c) f(c, worker);
    };
    if (alone) return part(1, 0);
    team_.run([&](int worker) { part(team_.size(), worker); });
  }

  /// `center_of` tells what a channel is normalised by.
  template <class F>
  void forward_by(const void* x, const void* scale, const void* bias, void* y, void* state, F&& center_of) {
    for_channels([&](Index c, int) {
      const auto center = center_of(c);
      ChannelState& own = static_cast<ChannelState*>(state)[c];
      own = {static_cast<double>(center.shift), center.factor};
      write(c, own, x, scale, bias, y);
    });
  }

  void write(Index c, const ChannelState& by, const void* x, const void* scale, const void* bias, void* y) const {
    const T a = static_cast<const T*>(scale)[c], b = bias ? static_cast<const T*>(bias)[c] : T(0);
    channels_.for_rows(c, [&](Index at) {
      T* const to = static_cast<T*>(y) + at;
      center(x, at, by, to);
      hot_.affine(shape_.inner, a, b, to, to);
      if (activation_.relu) hot_.relu(shape_.inner, static_cast<T>(activation_.negative_slope), to, to);
    });
  }

  void center(const void* x, Index at, const ChannelState& by, T* h) const {
    hot_.center(shape_.inner, static_cast<T>(by.shift), static_cast<T>(by.factor), static_cast<const T*>(x) + at, h);
  }

  /// Leaves h in the room and the gradient of h in `gradient`; the sums are those of dscale and dbias.
  Sums scale_backward(
      const ScaledBatchNormGradients& args, Index c, Index at, const ChannelState& before, const Room& room,
      T* gradient) const {
    const T* dy = static_cast<const T*>(args.dy) + at;
    if (activation_.relu) {
      const T* const y = static_cast<const T*>(args.y) + at;
      hot_.relu_backward(shape_.inner, static_cast<T>(activation_.negative_slope), y, dy, room.masked);
      dy = room.masked;
    }
    center(args.x, at, before, room.h);
    return hot_.affine_backward(shape_.inner, static_cast<const T*>(args.scale)[c], room.h, dy, gradient);
  }

  static void add(Sums& total, const Sums& more) {
    total.first += more.first;
    total.second += more.second;
  }

  static void store(const ScaledBatchNormGradients& args, Index c, const Sums& sums) {
    const auto to = [&](void* gradients, double sum) {
      if (!gradients) return;
      T& target = static_cast<T*>(gradients)[c];
      target = static_cast<T>((args.accumulate ? static_cast<double>(target) : 0) + sum);
    };
    to(args.dscale, sums.first);
    to(args.dbias, sums.second);
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  ChannelShape shape_;
  Activation activation_;
  NormChannels<T> channels_;
  Index row_;
};

}  // namespace

bool scales_batch_norm(const ChannelShape& shape) {
  return shape.inner > kNarrowChannel;
}

std::unique_ptr<ScaledBatchNorm> make_scaled_batch_norm(
    Engine& engine, DType dtype, const ChannelShape& shape, double eps, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<ScaledBatchNorm> {
    return std::make_unique<ScaledBatchNormPlan<decltype(zero)>>(engine, shape, eps, activation);
  });
}

}  // namespace sparknet::kernels::cpu
