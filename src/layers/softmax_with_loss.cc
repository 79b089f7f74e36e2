#include "sparknet/layers/softmax_with_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningSoftmaxWithLoss final : public Layer {
 public:
  explicit RunningSoftmaxWithLoss(const SoftmaxWithLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    softmax_.setup(setup, options_.axis);
    run_.setup(setup);
    setup.no_gradient(1);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    softmax_.forward(io);
    run_.forward(io, pass_of(io));
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    run_.backward(io, pass_of(io));
    softmax_.add_gradient_of_top(io);
  }

  void refuse(LayerIO& io, std::int64_t verdict) override { refuse_label(io, verdict, softmax_.shape().classes); }

 private:
  kernels::LossPass pass_of(LayerIO& io) const {
    const bool smooth = options_.label_smoothing != 0;
    const auto [outer, classes, inner] = softmax_.shape();
    kernels::LossPass pass{smooth ? kernels::LossKind::SmoothSoftmax : kernels::LossKind::Softmax, softmax_.shape()};
    pass.x = softmax_.probabilities(io);
    pass.labels = io.bottom(1).raw();
    pass.divisor = divisor(options_.normalization, outer, outer * inner);
    pass.has_ignore = options_.ignore_label.has_value();
    pass.ignore = options_.ignore_label.value_or(0);
    pass.scores = io.bottom(0).raw();
    pass.smoothing = options_.label_smoothing;
    return pass;
  }

  SoftmaxWithLossOptions options_;
  InnerSoftmax softmax_;
  LossRun run_;
};

}  // namespace

std::vector<Shape> SoftmaxWithLoss::infer(std::span<const Shape> in, std::size_t tops) const {
  require_loss_weight(options.loss_weight);
  require(
      options.label_smoothing >= 0 && options.label_smoothing <= 1,
      "option .label_smoothing must be from 0 to 1, not {}",
      options.label_smoothing);
  require_one_or_two_tops(tops);
  require_labels(options.axis, in[0], in[1]);
  return tops == 1 ? std::vector{Shape{1}} : std::vector{Shape{1}, in[0]};
}

std::unique_ptr<Layer> SoftmaxWithLoss::make() const {
  return std::make_unique<RunningSoftmaxWithLoss>(options);
}

}  // namespace sparknet
