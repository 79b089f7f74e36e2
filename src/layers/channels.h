#pragma once

// What the layers share that have an operand with fewer axes than their input: its axes are some of the input's.

#include <span>

#include "kernels/kernels.h"
#include "sparknet/shape.h"

namespace sparknet {

/// The shape of a learned operand: `num_axes` axes of the input from `axis` on, or all from there on for -1.
Shape operand_shape(Dim axis, Dim num_axes, const Shape& input);
/// The shape of the operand of a layer of one or two inputs: the second of them, or a learned one. Refuses a second
/// input that does not fit the first, and what is neither one input nor two.
Shape operand_shape(Dim axis, Dim num_axes, std::span<const Shape> inputs);
/// The input, cut before and behind the axes of the operand. With `nhwc` that is axis 1, or none.
kernels::ChannelShape channels_of(Dim axis, const Shape& input, const Shape& operand, bool nhwc);
/// The same for an operand of axis 1; of an input of one axis, one channel.
kernels::ChannelShape channels_of(const Shape& input, bool nhwc);

}  // namespace sparknet
