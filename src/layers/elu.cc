#include "sparknet/layers/elu.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape ELULayer::infer(std::span<const Shape> in) const {
  require_finite("alpha", options.alpha);
  return in[0];
}

std::unique_ptr<Layer> ELULayer::make() const {
  return make_map({.kind = kernels::MapKind::Elu, .a = options.alpha});
}

}  // namespace sparknet
