#include "sparknet/layers/gelu.h"

#include "src/layers/map.h"

namespace sparknet {

Shape GELULayer::infer(std::span<const Shape> in) const {
  return in[0];
}

std::unique_ptr<Layer> GELULayer::make() const {
  return make_map({.kind = options.tanh_approximation ? kernels::MapKind::GeluTanh : kernels::MapKind::Gelu});
}

}  // namespace sparknet
