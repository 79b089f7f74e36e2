#include "sparknet/layers/threshold.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape ThresholdLayer::infer(std::span<const Shape> in) const {
  require_finite("threshold", options.threshold);
  return in[0];
}

std::unique_ptr<Layer> ThresholdLayer::make() const {
  return make_map({.kind = kernels::MapKind::Step, .a = options.threshold});
}

}  // namespace sparknet
