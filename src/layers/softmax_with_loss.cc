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
    setup.no_gradient(1);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    softmax_.forward(io);
    const kernels::LossResult loss = options_.label_smoothing != 0 ? io.backend().loss(io.dtype(), smooth_pass(io))
                                                                   : io.backend().softmax_loss(
                                                                         io.dtype(),
                                                                         softmax_.shape(),
                                                                         softmax_.probabilities(io),
                                                                         io.bottom(1).raw(),
                                                                         options_.ignore_label.has_value(),
                                                                         options_.ignore_label.value_or(0));
    const auto [outer, classes, inner] = softmax_.shape();
    if (loss.bad_label >= 0) refuse_label(io.bottom(1), loss.bad_label, classes);
    divisor_ = divisor(options_.normalization, outer, outer * inner, loss.valid);
    io.top().fill(loss.sum / divisor_);
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    const double scale = element(io.top_diff(), 0) / divisor_;
    if (options_.label_smoothing != 0)
      io.backend().loss_backward(io.dtype(), smooth_pass(io), scale, io.bottom_diff().raw());
    else
      io.backend().softmax_loss_backward(
          io.dtype(),
          softmax_.shape(),
          softmax_.probabilities(io),
          io.bottom(1).raw(),
          options_.ignore_label.has_value(),
          options_.ignore_label.value_or(0),
          scale,
          io.bottom_diff().raw());
    softmax_.add_gradient_of_top(io);
  }

 private:
  kernels::LossPass smooth_pass(LayerIO& io) const {
    kernels::LossPass pass{kernels::LossKind::SmoothSoftmax, softmax_.shape()};
    pass.x = softmax_.probabilities(io);
    pass.labels = io.bottom(1).raw();
    pass.has_ignore = options_.ignore_label.has_value();
    pass.ignore = options_.ignore_label.value_or(0);
    pass.scores = io.bottom(0).raw();
    pass.smoothing = options_.label_smoothing;
    return pass;
  }

  SoftmaxWithLossOptions options_;
  InnerSoftmax softmax_;
  double divisor_ = 1;
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
