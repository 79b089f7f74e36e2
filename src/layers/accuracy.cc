#include "sparknet/layers/accuracy.h"

#include <algorithm>

#include "sparknet/element.h"
#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningAccuracy final : public Layer {
 public:
  explicit RunningAccuracy(const AccuracyOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    shape_ = classes_along(options_.axis, setup.bottom()[0]);
    per_class_ = setup.top().size() == 2;
    if (per_class_) setup.scratch(2 * static_cast<std::size_t>(shape_.classes) * sizeof(Dim));
    setup.backward_reads(false, false);
    setup.no_gradient(0);
    setup.no_gradient(1);
  }

  void forward(LayerIO& io) override {
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      count<T>(io);
    });
  }

  void backward(LayerIO&) override {}

 private:
  template <class T>
  void count(LayerIO& io) const {
    const std::span<const T> scores = io.bottom(0).span<T>(), labels = io.bottom(1).span<T>();
    const std::size_t classes = per_class_ ? static_cast<std::size_t>(shape_.classes) : 0;
    const std::span<Dim> counted_of(reinterpret_cast<Dim*>(io.scratch()), classes);
    const std::span<Dim> right_of(counted_of.data() + classes, classes);
    std::ranges::fill(counted_of, 0);
    std::ranges::fill(right_of, 0);
    Dim counted = 0, right = 0;
    for (Dim i = 0; i < shape_.outer * shape_.inner; ++i) {
      const double label = static_cast<double>(labels[static_cast<std::size_t>(i)]);
      if (options_.ignore_label && label == static_cast<double>(*options_.ignore_label)) continue;
      if (!(label >= 0 && label < static_cast<double>(shape_.classes)) ||
          label != static_cast<double>(static_cast<Dim>(label)))
        refuse_label(io.bottom(1), i, shape_.classes);
      const Dim first = i / shape_.inner * shape_.classes * shape_.inner + i % shape_.inner;
      const auto score = [&](Dim c) { return scores[static_cast<std::size_t>(first + c * shape_.inner)]; };
      const T own = score(static_cast<Dim>(label));
      Dim as_good = -1;  // its own score is one of those
      for (Dim c = 0; c < shape_.classes && as_good < options_.top_k; ++c) as_good += !(score(c) < own);
      const bool is_right = as_good < options_.top_k;
      ++counted;
      right += is_right;
      if (!per_class_) continue;
      ++counted_of[static_cast<std::size_t>(label)];
      right_of[static_cast<std::size_t>(label)] += is_right;
    }
    const auto share = [](Dim part, Dim all) {
      return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
    };
    io.top().fill(share(right, counted));
    if (!per_class_) return;
    const std::span<T> shares = io.top(1).span<T>();
    for (std::size_t c = 0; c < classes; ++c) shares[c] = static_cast<T>(share(right_of[c], counted_of[c]));
  }

  AccuracyOptions options_;
  kernels::SoftmaxShape shape_{};
  bool per_class_ = false;
};

}  // namespace

std::vector<Shape> AccuracyLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  require(options.top_k > 0, "option .top_k must be positive, not {}", options.top_k);
  const Dim classes = classes_along(options.axis, in[0]).classes;
  require(options.top_k <= classes, "option .top_k is {} and there are {} classes", options.top_k, classes);
  require_one_or_two_tops(tops);
  require_labels(options.axis, in[0], in[1]);
  return tops == 1 ? std::vector{Shape{1}} : std::vector{Shape{1}, Shape{classes}};
}

std::unique_ptr<Layer> AccuracyLayer::make() const {
  return std::make_unique<RunningAccuracy>(options);
}

}  // namespace sparknet
