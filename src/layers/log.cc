#include "sparknet/layers/log.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape LogLayer::infer(std::span<const Shape> in) const {
  require_base(options.base);
  require(options.base != 1, "option .base must not be 1: there is no logarithm to that base");
  require_finite("scale", options.scale);
  require_finite("shift", options.shift);
  return in[0];
}

std::unique_ptr<Layer> LogLayer::make() const {
  return make_map(
      {.kind = kernels::MapKind::Log, .a = options.scale, .b = options.shift, .c = 1 / log_of_base(options.base)});
}

}  // namespace sparknet
