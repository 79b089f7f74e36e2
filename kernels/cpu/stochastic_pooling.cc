#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/engine.h"
#include "sparknet/random.h"

namespace sparknet::kernels::cpu {
namespace {

/// Outputs below which waking the crew costs more than it saves.
constexpr Index kWorth = 4096;

/// Word number `index` of the Philox4x32-10 stream, block by block.
class Words {
 public:
  Words(std::uint64_t seed, std::uint64_t sequence) : seed_(seed), sequence_(sequence) {}

  std::uint32_t at(std::uint64_t index) {
    if (index / 4 != block_) words_ = philox(seed_, sequence_, block_ = index / 4);
    return words_[index % 4];
  }

 private:
  std::uint64_t seed_, sequence_;
  std::uint64_t block_ = ~std::uint64_t{0};
  std::array<std::uint32_t, 4> words_{};
};

template <class T>
class StochasticPooling final : public Pooling {
 public:
  StochasticPooling(Engine& engine, const PoolingShape& shape)
      : engine_(engine),
        s_(shape),
        planes_(shape.batch * shape.channels),
        pixels_(shape.height * shape.width),
        outputs_(shape.out_h * shape.out_w) {}

  std::size_t mask_bytes() const override {
    return static_cast<std::size_t>(planes_ * outputs_) * sizeof(std::int32_t);
  }

  void forward(const void* x, void* y, void*) override {
    for_planes([&](Index plane) {
      const T* const from = static_cast<const T*>(x) + plane * pixels_;
      T* to = static_cast<T*>(y) + plane * outputs_;
      for_windows([&](Index h0, Index h1, Index w0, Index w1) {
        T sum = 0, squares = 0;
        over(h0, h1, w0, w1, [&](Index place) {
          sum += from[place];
          squares += from[place] * from[place];
        });
        // NaN is to stay, and is not above 0.
        *to++ = sum > 0 || std::isnan(sum) ? squares / sum : T(0);
      });
    });
  }

  void forward_random(const void* x, void* y, void* mask, const RandomWords& words) override {
    for_planes([&](Index plane) {
      const T* const from = static_cast<const T*>(x) + plane * pixels_;
      Index output = plane * outputs_;
      Words random(words.seed, words.sequence);
      for_windows([&](Index h0, Index h1, Index w0, Index w1) {
        double sum = 0;
        over(h0, h1, w0, w1, [&](Index place) { sum += static_cast<double>(from[place]); });
        // In (0, 1], so that what is 0 is never taken where something else is not.
        const double u = (random.at(words.first + static_cast<std::uint64_t>(output)) + 1.0) / 4294967296.0;
        const Index place = pick(from, h0, h1, w0, w1, u * sum);
        static_cast<T*>(y)[output] = from[place];
        static_cast<std::int32_t*>(mask)[output++] = static_cast<std::int32_t>(place);
      });
    });
  }

  void backward(const void* dy, const void* mask, void* dx) override {
    for_planes([&](Index plane) {
      const T* const from = static_cast<const T*>(dy) + plane * outputs_;
      const std::int32_t* const place = static_cast<const std::int32_t*>(mask) + plane * outputs_;
      T* const to = static_cast<T*>(dx) + plane * pixels_;
      std::fill_n(to, pixels_, T(0));
      for (Index i = 0; i < outputs_; ++i) to[place[i]] += from[i];
    });
  }

  void places(const void* mask, void* y) const override {
    const auto* const from = static_cast<const std::int32_t*>(mask);
    std::transform(from, from + planes_ * outputs_, static_cast<T*>(y), [](auto p) { return static_cast<T>(p); });
  }

 private:
  template <class F>
  void for_planes(F&& f) {
    for_ranges(engine_.team, planes_, 1, 1 + kWorth / outputs_, [&](Index begin, Index end) {
      for (Index plane = begin; plane < end; ++plane) f(plane);
    });
  }
  template <class F>
  void for_windows(F&& f) const {
    for (Index oh = 0; oh < s_.out_h; ++oh) {
      for (Index ow = 0; ow < s_.out_w; ++ow) {
        const Index h = oh * s_.stride_h, w = ow * s_.stride_w;
        f(h, std::min(h + s_.kernel_h, s_.height), w, std::min(w + s_.kernel_w, s_.width));
      }
    }
  }
  template <class F>
  void over(Index h0, Index h1, Index w0, Index w1, F&& f) const {
    for (Index h = h0; h < h1; ++h) {
      for (Index w = w0; w < w1; ++w) f(h * s_.width + w);
    }
  }
  /// The first element that brings the sum up to `threshold`; the last one where none does (NaN).
  Index pick(const T* from, Index h0, Index h1, Index w0, Index w1, double threshold) const {
    double sum = 0;
    for (Index h = h0; h < h1; ++h) {
      for (Index w = w0; w < w1; ++w) {
        sum += static_cast<double>(from[h * s_.width + w]);
        if (sum >= threshold) return h * s_.width + w;
      }
    }
    return (h1 - 1) * s_.width + w1 - 1;
  }

  Engine& engine_;
  PoolingShape s_;
  Index planes_, pixels_, outputs_;
};

}  // namespace

std::unique_ptr<Pooling> make_stochastic_pooling(Engine& engine, DType dtype, const PoolingShape& shape) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Pooling> {
    return std::make_unique<StochasticPooling<decltype(zero)>>(engine, shape);
  });
}

}  // namespace sparknet::kernels::cpu
