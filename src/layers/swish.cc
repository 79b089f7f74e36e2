#include "sparknet/layers/swish.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape SwishLayer::infer(std::span<const Shape> in) const {
  require_finite("beta", options.beta);
  return in[0];
}

std::unique_ptr<Layer> SwishLayer::make() const {
  return make_map({.kind = kernels::MapKind::Swish, .a = options.beta});
}

}  // namespace sparknet
