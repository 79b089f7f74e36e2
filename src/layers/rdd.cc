#include "sparknet/layers/rdd.h"

#include "src/layers/common.h"

namespace sparknet {

Shape RDDLayer::infer(std::span<const Shape>) const {
  require(!shape.empty(), "shape is required");
  for (const Dim dim : shape) require(dim > 0, "shape {} has a dimension that is not positive", to_string(shape));
  return shape;
}

}  // namespace sparknet
