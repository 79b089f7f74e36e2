#include "sparknet/layers/tanh.h"

#include "src/layers/map.h"

namespace sparknet {

Shape TanHLayer::infer(std::span<const Shape> in) const {
  return in[0];
}

std::unique_ptr<Layer> TanHLayer::make() const {
  return make_map({.kind = kernels::MapKind::Tanh});
}

}  // namespace sparknet
