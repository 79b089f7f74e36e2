#include "sparknet/layers/accuracy.h"

#include "sparknet/element.h"
#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningAccuracy final : public Layer {
 public:
  explicit RunningAccuracy(const AccuracyOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    shape_ = classes_along(options_.axis, setup.bottom()[0]);
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
      ++counted;
      right += as_good < options_.top_k;
    }
    io.top().fill(counted == 0 ? 0 : static_cast<double>(right) / static_cast<double>(counted));
  }

  AccuracyOptions options_;
  kernels::SoftmaxShape shape_{};
};

}  // namespace

Shape AccuracyLayer::infer(std::span<const Shape> in) const {
  require(options.top_k > 0, "option .top_k must be positive, not {}", options.top_k);
  const Dim classes = classes_along(options.axis, in[0]).classes;
  require(options.top_k <= classes, "option .top_k is {} and there are {} classes", options.top_k, classes);
  require_labels(options.axis, in[0], in[1]);
  return {1};
}

std::unique_ptr<Layer> AccuracyLayer::make() const {
  return std::make_unique<RunningAccuracy>(options);
}

}  // namespace sparknet
