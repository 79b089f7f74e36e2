#include "sparknet/layers/multinomial_logistic_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {

Shape MultinomialLogisticLoss::infer(std::span<const Shape> in) const {
  require_loss_weight(options.loss_weight);
  require_label_per_example(in[0], in[1]);
  return {1};
}

std::unique_ptr<Layer> MultinomialLogisticLoss::make() const {
  return make_loss({.kind = kernels::LossKind::Logistic}, Normalization::BatchSize, options.loss_weight);
}

}  // namespace sparknet
