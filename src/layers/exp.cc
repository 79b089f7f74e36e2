#include "sparknet/layers/exp.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape ExpLayer::infer(std::span<const Shape> in) const {
  require_base(options.base);
  require_finite("scale", options.scale);
  require_finite("shift", options.shift);
  return in[0];
}

std::unique_ptr<Layer> ExpLayer::make() const {
  const double log_base = log_of_base(options.base);
  return make_map({.kind = kernels::MapKind::Exp, .a = log_base * options.scale, .b = log_base * options.shift});
}

}  // namespace sparknet
