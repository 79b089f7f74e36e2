#include <algorithm>
#include <vector>

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {
namespace {

/// Pixels of all channels worked on at a time, so that a window of channels stays in the cache.
constexpr Index kBlock = 256;

/// The common part: a state that holds k + alpha / n * sum x^2 for each element, and room for each thread.
template <class T>
class LrnPlan : public Lrn {
 public:
  std::size_t state_bytes() const override {
    return static_cast<std::size_t>(shape_.batch * shape_.channels * pixels_) * sizeof(T);
  }

 protected:
  LrnPlan(Engine& engine, const LrnShape& shape, Index window, Index room)
      : engine_(engine),
        hot_(table<T>(engine)),
        shape_(shape),
        pixels_(shape.height * shape.width),
        args_{
            shape.channels,
            pixels_,
            shape.local_size,
            static_cast<T>(shape.alpha / static_cast<double>(window)),
            static_cast<T>(shape.beta),
            static_cast<T>(shape.k)},
        room_size_(round_up(room, 64)),
        room_(static_cast<std::size_t>(room_size_ * engine.team.size())) {}

  /// Calls f(item, room of the thread) for each item, on all threads.
  template <class F>
  void for_items(Index items, F&& f) {
    engine_.team.run([&](int worker) {
      const Share part = share(items, engine_.team.size(), worker);
      for (Index item = part.begin; item < part.end; ++item) f(item, room_.data() + worker * room_size_);
    });
  }

  Engine& engine_;
  const HotTable<T>& hot_;
  LrnShape shape_;
  Index pixels_;
  LrnArgs<T> args_;
  Index room_size_;
  std::vector<T> room_;
};

template <class T>
class LrnAcross final : public LrnPlan<T> {
 public:
  LrnAcross(Engine& engine, const LrnShape& shape)
      : LrnPlan<T>(engine, shape, shape.local_size, shape.channels * kBlock),
        blocks_((this->pixels_ + kBlock - 1) / kBlock) {}

  void forward(const void* x, void* y, void* state) override {
    this->for_items(this->shape_.batch * blocks_, [&](Index item, T*) {
      const Piece piece = piece_of(item);
      this->hot_.lrn_across(
          this->args_,
          piece.begin,
          piece.end,
          static_cast<const T*>(x) + piece.image,
          static_cast<T*>(y) + piece.image,
          static_cast<T*>(state) + piece.image);
    });
  }

  void backward(const void* x, const void* y, const void* state, const void* dy, void* dx) override {
    this->for_items(this->shape_.batch * blocks_, [&](Index item, T* room) {
      const Piece piece = piece_of(item);
      this->hot_.lrn_across_backward(
          this->args_,
          piece.begin,
          piece.end,
          static_cast<const T*>(x) + piece.image,
          static_cast<const T*>(y) + piece.image,
          static_cast<const T*>(state) + piece.image,
          static_cast<const T*>(dy) + piece.image,
          static_cast<T*>(dx) + piece.image,
          room);
    });
  }

 private:
  struct Piece {
    /// The image's first element, and the range of pixels.
    Index image, begin, end;
  };
  Piece piece_of(Index item) const {
    const Index begin = item % blocks_ * kBlock;
    return {item / blocks_ * this->shape_.channels * this->pixels_, begin, std::min(begin + kBlock, this->pixels_)};
  }

  Index blocks_;
};

template <class T>
class LrnWithin final : public LrnPlan<T> {
 public:
  LrnWithin(Engine& engine, const LrnShape& shape)
      : LrnPlan<T>(engine, shape, shape.local_size * shape.local_size, 2 * shape.height * shape.width) {}

  void forward(const void* x, void* y, void* state) override {
    this->for_items(this->shape_.batch * this->shape_.channels, [&](Index plane, T* room) {
      const Index at = plane * this->pixels_;
      const T* const from = static_cast<const T*>(x) + at;
      T* const sums = static_cast<T*>(state) + at;
      this->hot_.multiply(this->pixels_, from, from, room);
      window_sums(room, room + this->pixels_, (this->shape_.local_size - 1) / 2, sums);
      for (Index i = 0; i < this->pixels_; ++i) sums[i] = this->args_.k + this->args_.alpha * sums[i];
      this->hot_.lrn_scale(this->pixels_, this->args_.beta, sums, from, static_cast<T*>(y) + at);
    });
  }

  void backward(const void* x, const void* y, const void* state, const void* dy, void* dx) override {
    const T factor = T(-2) * this->args_.alpha * this->args_.beta;
    this->for_items(this->shape_.batch * this->shape_.channels, [&](Index plane, T* room) {
      const Index at = plane * this->pixels_;
      const T* const from = static_cast<const T*>(x) + at;
      const T* const out = static_cast<const T*>(y) + at;
      const T* const sums = static_cast<const T*>(state) + at;
      const T* const top = static_cast<const T*>(dy) + at;
      T* const to = static_cast<T*>(dx) + at;
      for (Index i = 0; i < this->pixels_; ++i) room[i] = top[i] * out[i] / sums[i];
      // The windows that hold a pixel reach as far behind it as its own reaches before it.
      const Index before = this->shape_.local_size - 1 - (this->shape_.local_size - 1) / 2;
      this->hot_.lrn_scale(this->pixels_, this->args_.beta, sums, top, to);
      T* const spread = room + this->pixels_;
      window_sums(room, spread, before, room);
      for (Index i = 0; i < this->pixels_; ++i) to[i] += factor * from[i] * room[i];
    });
  }

 private:
  /// sums[h][w] = the sum of `values` over the local window that begins `before` rows and columns earlier, clipped to
  /// the plane. `between` is room for a plane; sums may be values.
  void window_sums(const T* values, T* between, Index before, T* sums) const {
    const Index height = this->shape_.height, width = this->shape_.width, size = this->shape_.local_size;
    std::fill_n(between, this->pixels_, T(0));
    for (Index d = -before; d < size - before; ++d) {
      const Index first = std::max<Index>(0, -d), last = std::min(width, width - d);
      for (Index h = 0; h < height && first < last; ++h) {
        this->hot_.axpy(last - first, T(1), values + h * width + first + d, between + h * width + first);
      }
    }
    std::fill_n(sums, this->pixels_, T(0));
    for (Index d = -before; d < size - before; ++d) {
      const Index first = std::max<Index>(0, -d), last = std::min(height, height - d);
      if (first < last) {
        this->hot_.axpy((last - first) * width, T(1), between + (first + d) * width, sums + first * width);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Lrn> make_lrn(Engine& engine, DType dtype, const LrnShape& shape) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Lrn> {
    using T = decltype(zero);
    if (shape.region == LrnRegion::AcrossChannels) return std::make_unique<LrnAcross<T>>(engine, shape);
    return std::make_unique<LrnWithin<T>>(engine, shape);
  });
}

}  // namespace sparknet::kernels::cpu
