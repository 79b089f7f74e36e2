#include "sparknet/layers/argmax.h"

#include <algorithm>
#include <vector>

#include "sparknet/element.h"
#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningArgMax final : public Layer {
 public:
  explicit RunningArgMax(const ArgMaxOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& bottom = setup.bottom()[0];
    if (options_.axis) {
      const std::size_t axis = axis_of(*options_.axis, bottom);
      outer_ = bottom.count(0, axis), count_ = bottom[axis], inner_ = bottom.count(axis + 1);
    } else {
      outer_ = bottom[0], count_ = bottom.count(1), inner_ = 1;
    }
    order_.resize(static_cast<std::size_t>(count_));
    setup.backward_reads(false, false);
    setup.no_gradient(0);
  }

  void forward(LayerIO& io) override {
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      find<T>(io);
    });
  }

  void backward(LayerIO&) override {}

 private:
  template <class T>
  void find(LayerIO& io) {
    const T* const x = io.bottom().span<T>().data();
    T* const y = io.top().span<T>().data();
    const bool pairs = options_.out_max_val && !options_.axis, values = options_.out_max_val && options_.axis;
    const Dim k = options_.top_k, top_row = pairs ? 2 * k : k;
    for (Dim i = 0; i < outer_ * inner_; ++i) {
      const T* const from = x + i / inner_ * count_ * inner_ + i % inner_;
      T* const to = y + i / inner_ * top_row * inner_ + i % inner_;
      sort(from);
      for (Dim j = 0; j < k; ++j) {
        const Dim place = order_[static_cast<std::size_t>(j)];
        const T value = from[place * inner_];
        to[j * inner_] = values ? value : static_cast<T>(place);
        if (pairs) to[k + j] = value;
      }
    }
  }

  /// Leaves the places of the largest numbers at the front of order_.
  template <class T>
  void sort(const T* from) {
    const auto before = [&](Dim a, Dim b) {
      const T x = from[a * inner_], y = from[b * inner_];
      const bool x_nan = x != x, y_nan = y != y;
      if (x_nan != y_nan) return x_nan;
      return x > y || (!(y > x) && a > b);
    };
    if (options_.top_k == 1) {
      Dim best = 0;
      for (Dim c = 1; c < count_; ++c)
        if (before(c, best)) best = c;
      order_[0] = best;
      return;
    }
    for (Dim c = 0; c < count_; ++c) order_[static_cast<std::size_t>(c)] = c;
    std::partial_sort(order_.begin(), order_.begin() + options_.top_k, order_.end(), before);
  }

  ArgMaxOptions options_;
  Dim outer_ = 0, count_ = 0, inner_ = 1;
  std::vector<Dim> order_;
};

}  // namespace

Shape ArgMaxLayer::infer(std::span<const Shape> in) const {
  require(options.top_k > 0, "option .top_k must be positive, not {}", options.top_k);
  require(!in[0].empty(), "expects one or more dimensions");
  if (!options.axis) {
    const Dim numbers = in[0].count(1);
    require(options.top_k <= numbers, "option .top_k is {} and an example has {} numbers", options.top_k, numbers);
    Shape top{in[0][0], options.out_max_val ? 2 : 1, options.top_k};
    while (top.size() < in[0].size()) top.push_back(1);
    return top;
  }
  const std::size_t axis = axis_of(*options.axis, in[0]);
  require(
      options.top_k <= in[0][axis],
      "option .top_k is {} and there are {} numbers along axis {}",
      options.top_k,
      in[0][axis],
      axis);
  Shape top = in[0];
  top[axis] = options.top_k;
  return top;
}

std::unique_ptr<Layer> ArgMaxLayer::make() const {
  return std::make_unique<RunningArgMax>(options);
}

}  // namespace sparknet
