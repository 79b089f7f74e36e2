#include "src/layers/channels.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

/// Where the operand's axes begin. An operand without axes fits everywhere.
std::size_t first_axis(Dim axis, const Shape& input, const Shape& operand) {
  return operand.empty() ? 0 : axis_of(axis, input);
}

}  // namespace

Shape operand_shape(Dim axis, Dim num_axes, const Shape& input) {
  require(num_axes >= -1, "option .num_axes must be -1 or more, not {}", num_axes);
  if (num_axes == 0) return {};
  const std::size_t first = axis_of(axis, input);
  const std::size_t last = num_axes == -1 ? input.size() : first + static_cast<std::size_t>(num_axes);
  require(
      last <= input.size(),
      "option .num_axes is {}, and from axis {} on its input has {}",
      num_axes,
      first,
      input.size() - first);
  return Shape(std::span(input.begin() + first, input.begin() + last));
}

Shape operand_shape(Dim axis, Dim num_axes, std::span<const Shape> inputs) {
  require(inputs.size() == 1 || inputs.size() == 2, "expects one or two inputs, not {}", inputs.size());
  if (inputs.size() == 1) return operand_shape(axis, num_axes, inputs[0]);
  const Shape &input = inputs[0], &operand = inputs[1];
  const std::size_t first = first_axis(axis, input, operand);
  bool fits = first + operand.size() <= input.size();
  for (std::size_t i = 0; fits && i < operand.size(); ++i) fits = input[first + i] == operand[i];
  require(
      fits,
      "input 1 must have the shape of input 0 from axis {} on: it is {} and input 0 is {}",
      first,
      to_string(operand),
      to_string(input));
  return operand;
}

kernels::ChannelShape channels_of(Dim axis, const Shape& input, const Shape& operand, bool nhwc) {
  if (nhwc && !operand.empty()) return channels_of(input, nhwc);
  const std::size_t first = first_axis(axis, input, operand);
  return {input.count(0, first), operand.count(), input.count(first + operand.size())};
}

kernels::ChannelShape channels_of(const Shape& input, bool nhwc) {
  if (input.size() == 1) return {input[0], 1, 1};
  const Dim pixels = input.count(2);
  return {nhwc ? input[0] * pixels : input[0], input[1], nhwc ? 1 : pixels};
}

}  // namespace sparknet
