#include "sparknet/layers/flatten.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {

Shape FlattenLayer::infer(std::span<const Shape> in) const {
  const std::size_t first = axis_of(options.axis, in[0]), behind = axis_of(options.end_axis, in[0]) + 1;
  require(
      first <= behind,
      "option .end_axis names axis {}, which lies before axis {}, that of option .axis",
      behind - 1,
      first);
  std::vector<Dim> dims(in[0].begin(), in[0].begin() + first);
  dims.push_back(in[0].count(first, behind));
  dims.insert(dims.end(), in[0].begin() + behind, in[0].end());
  return make_shape(dims);
}

std::unique_ptr<Layer> FlattenLayer::make() const {
  return make_copy();
}

}  // namespace sparknet
