#include "sparknet/layers/hinge_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {

std::string to_text(HingeNorm value) {
  return value == HingeNorm::L1 ? "HingeNorm::L1" : "HingeNorm::L2";
}

Shape HingeLoss::infer(std::span<const Shape> in) const {
  require_loss_weight(options.loss_weight);
  require_label_per_example(in[0], in[1]);
  return {1};
}

std::unique_ptr<Layer> HingeLoss::make() const {
  const bool squares = options.norm == HingeNorm::L2;
  return make_loss(
      {.kind = squares ? kernels::LossKind::HingeSquares : kernels::LossKind::Hinge},
      Normalization::BatchSize,
      options.loss_weight);
}

}  // namespace sparknet
