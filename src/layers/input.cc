#include "sparknet/layers/input.h"

#include "src/layers/common.h"

namespace sparknet {

std::vector<Shape> InputLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  require(in.empty(), "takes no inputs, not {}", in.size());
  return shapes_of_tops(options.shape, tops);
}

}  // namespace sparknet
