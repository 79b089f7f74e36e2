#include "sparknet/layers/softmax_with_loss.h"

#include <algorithm>
#include <cmath>

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningSoftmaxWithLoss final : public Layer {
 public:
  explicit RunningSoftmaxWithLoss(const SoftmaxWithLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& scores = setup.bottom()[0];
    shape_ = classes_along(options_.axis, scores);
    setup.state(static_cast<std::size_t>(scores.count()) * size_of(setup.dtype()));
    setup.backward_reads(true, false);
    setup.no_gradient(1);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    io.backend().softmax(io.dtype(), shape_, io.bottom(0).raw(), io.state());
    const kernels::LossResult loss = io.backend().softmax_loss(
        io.dtype(),
        shape_,
        io.state(),
        io.bottom(1).raw(),
        options_.ignore_label.has_value(),
        options_.ignore_label.value_or(0));
    if (loss.bad_label >= 0) refuse_label(io.bottom(1), loss.bad_label, shape_.classes);
    divisor_ = divisor(loss.valid);
    io.top().fill(loss.sum / divisor_);
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    io.backend().softmax_loss_backward(
        io.dtype(),
        shape_,
        io.state(),
        io.bottom(1).raw(),
        options_.ignore_label.has_value(),
        options_.ignore_label.value_or(0),
        element(io.top_diff(), 0) / divisor_,
        io.bottom_diff().raw());
  }

 private:
  double divisor(kernels::Index valid) const {
    switch (options_.normalization) {
      case Normalization::Full: return static_cast<double>(shape_.outer * shape_.inner);
      case Normalization::Valid: return static_cast<double>(std::max<kernels::Index>(valid, 1));
      case Normalization::BatchSize: return static_cast<double>(shape_.outer);
      case Normalization::None: break;
    }
    return 1;
  }

  SoftmaxWithLossOptions options_;
  kernels::SoftmaxShape shape_{};
  double divisor_ = 1;
};

}  // namespace

std::string to_text(Normalization value) {
  switch (value) {
    case Normalization::Full: return "Normalization::Full";
    case Normalization::Valid: return "Normalization::Valid";
    case Normalization::BatchSize: return "Normalization::BatchSize";
    case Normalization::None: return "Normalization::None";
  }
  return {};
}

Shape SoftmaxWithLoss::infer(std::span<const Shape> in) const {
  require(std::isfinite(options.loss_weight), "option .loss_weight must be finite, not {}", options.loss_weight);
  require_labels(options.axis, in[0], in[1]);
  return {1};
}

std::unique_ptr<Layer> SoftmaxWithLoss::make() const {
  return std::make_unique<RunningSoftmaxWithLoss>(options);
}

}  // namespace sparknet
