#include "sparknet/layers/sigmoid_cross_entropy_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {

Shape SigmoidCrossEntropyLoss::infer(std::span<const Shape> in) const {
  require_loss_weight(options.loss_weight);
  require_same_examples("scores", in[0], "targets", in[1]);
  return {1};
}

std::unique_ptr<Layer> SigmoidCrossEntropyLoss::make() const {
  return make_loss(
      {.kind = kernels::LossKind::SigmoidCrossEntropy,
       .has_ignore = options.ignore_label.has_value(),
       .ignore = options.ignore_label.value_or(0)},
      options.normalization,
      options.loss_weight);
}

}  // namespace sparknet
