#include "sparknet/layers/reshape.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {

Shape ReshapeLayer::infer(std::span<const Shape> in) const {
  const Shape& input = in[0];
  const Dim rank = static_cast<Dim>(input.size());
  // Unlike elsewhere -1 is the place behind the last axis, so that axes can be added there.
  const Dim begin = options.axis < 0 ? rank + 1 + options.axis : options.axis;
  require(
      begin >= 0 && begin <= rank,
      "option .axis is {} and must lie between {} and {} for an input of {} dimensions",
      options.axis,
      -rank - 1,
      rank,
      rank);
  require(options.num_axes >= -1, "option .num_axes must be -1 or more, not {}", options.num_axes);
  const Dim end = options.num_axes == -1 ? rank : begin + options.num_axes;
  require(
      end <= rank,
      "option .num_axes is {} and only {} axes of its input lie behind the place of option .axis",
      options.num_axes,
      rank - begin);

  std::vector<Dim> dims(input.begin(), input.begin() + begin);
  Dim known = input.count(0, static_cast<std::size_t>(begin)) * input.count(static_cast<std::size_t>(end));
  std::optional<std::size_t> unknown;
  for (std::size_t i = 0; i < options.shape.size(); ++i) {
    Dim dim = options.shape[i];
    require(dim >= -1, "option .shape has a dimension of {}; beside positive ones there may be 0 and one -1", dim);
    if (dim == 0) {
      const Dim source = begin + static_cast<Dim>(i);
      require(
          source < rank,
          "dimension {} of option .shape is 0 for that of axis {} of its input, which has {} dimensions",
          i,
          source,
          rank);
      dim = input[static_cast<std::size_t>(source)];
    }
    if (dim == -1) {
      require(!unknown, "option .shape has more than one dimension of -1");
      unknown = dims.size();
    } else {
      require(!__builtin_mul_overflow(known, dim, &known), "option .shape has more elements than can be counted");
    }
    dims.push_back(dim);
  }
  dims.insert(dims.end(), input.begin() + end, input.end());
  if (unknown) {
    require(
        known != 0 && input.count() % known == 0,
        "option .shape leaves the {} elements of its input to be shared by {}",
        input.count(),
        known);
    dims[*unknown] = input.count() / known;
  }
  const Shape top = make_shape(dims);
  require(
      top.count() == input.count(),
      "its top would be {}, which has {} elements and not {}",
      to_string(top),
      top.count(),
      input.count());
  return top;
}

std::unique_ptr<Layer> ReshapeLayer::make() const {
  return make_copy();
}

}  // namespace sparknet
