#include "sparknet/layers/absval.h"

#include "src/layers/map.h"

namespace sparknet {

Shape AbsValLayer::infer(std::span<const Shape> in) const {
  return in[0];
}

std::unique_ptr<Layer> AbsValLayer::make() const {
  return make_map({.kind = kernels::MapKind::Abs});
}

}  // namespace sparknet
