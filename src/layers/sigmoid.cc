#include "sparknet/layers/sigmoid.h"

#include "src/layers/map.h"

namespace sparknet {

Shape SigmoidLayer::infer(std::span<const Shape> in) const {
  return in[0];
}

std::unique_ptr<Layer> SigmoidLayer::make() const {
  return make_map({.kind = kernels::MapKind::Sigmoid});
}

}  // namespace sparknet
