#include "sparknet/layers/clip.h"

#include "src/layers/common.h"
#include "src/layers/map.h"

namespace sparknet {

Shape ClipLayer::infer(std::span<const Shape> in) const {
  require(options.min.has_value(), "option .min is required");
  require(options.max.has_value(), "option .max is required");
  require(
      *options.min <= *options.max,
      "option .min must not be larger than .max: they are {} and {}",
      *options.min,
      *options.max);
  return in[0];
}

std::unique_ptr<Layer> ClipLayer::make() const {
  return make_map({.kind = kernels::MapKind::Clip, .a = options.min.value(), .b = options.max.value()});
}

}  // namespace sparknet
