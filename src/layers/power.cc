#include "sparknet/layers/power.h"

#include <cmath>

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape PowerLayer::infer(std::span<const Shape> in) const {
  require_finite("power", options.power);
  require_finite("scale", options.scale);
  require_finite("shift", options.shift);
  const double constant = std::pow(options.shift, options.power);
  require(
      options.scale != 0 || std::isfinite(constant),
      "option .scale is 0, which makes every element {}^{} = {}",
      options.shift,
      options.power,
      constant);
  return in[0];
}

std::unique_ptr<Layer> PowerLayer::make() const {
  using kernels::MapKind;
  const auto& [power, scale, shift] = options;
  if (power == 0 || scale == 0) return make_map({.kind = MapKind::Constant, .a = std::pow(shift, power)});
  if (power == 1) return make_map({.kind = MapKind::Affine, .a = scale, .b = shift});
  return make_map({.kind = MapKind::Power, .a = scale, .b = shift, .c = power});
}

}  // namespace sparknet
