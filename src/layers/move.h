#pragma once

// What the layers share that move elements and compute nothing.

#include <memory>
#include <span>

#include "sparknet/layer.h"

namespace sparknet {

/// A top with the elements of the bottom in their order, whatever its shape. Runs in place.
std::unique_ptr<Layer> make_copy();

/// Copies the elements of one dense tensor to another in their order, unless they lie in the same memory.
void copy_elements(LayerIO& io, const Tensor& from, Tensor& to);

/// The rows that the elements of a tensor of a layer's are from an axis on, and their bytes. In NHWC the axis is that
/// of the channels.
Dim rows_before(Dim axis, const Shape& shape, const LayerSetup& setup);
std::size_t row_bytes(Dim axis, const Shape& shape, const LayerSetup& setup);
/// Of four axes.
bool is_channel_axis(Dim axis);

/// The steps from one element of a dense tensor to the next, along each axis.
Shape steps_of(const Shape& shape);

/// The shape with these dimensions. Refuses more than a shape can hold.
Shape make_shape(std::span<const Dim> dims);

}  // namespace sparknet
