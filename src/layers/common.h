#pragma once

// What several layers need: checks of options and shapes.

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/net_param.h"

namespace sparknet {

/// `require` with a reason that holds values.
template <class First, class... Rest>
void require(bool ok, fmt::format_string<First, Rest...> why, First&& first, Rest&&... rest) {
  if (!ok) throw BadInput(fmt::format(why, std::forward<First>(first), std::forward<Rest>(rest)...));
}

/// Refuses infinity and what is not a number.
void require_finite(std::string_view option, double value);
/// Refuses what is below 0, infinite or not a number.
void require_eps(double eps);
/// Refuses a shape with a dimension that is not positive; `what` it is the shape of begins the reason.
void require_positive(std::string_view what, const Shape& shape);
/// The shapes of `tops` tops by an option .shape that has one for all or one for each.
std::vector<Shape> shapes_of_tops(const std::vector<Shape>& shapes, std::size_t tops);
/// Refuses a number of outputs that is missing or negative.
void require_num_output(Dim num_output);
/// Refuses a kernel that is missing or negative.
void require_kernel(Size2 kernel);
/// Refuses strides below 1 and negative padding.
void require_steps(Size2 stride, Size2 pad);
/// Refuses what is not [N, C, H, W].
void require_image(const Shape& shape);
/// Refuses an image that a kernel, dilated to `extent`, does not fit into.
void require_fit(Size2 kernel, Size2 extent, Size2 pad, const Shape& image);

/// The axis of `shape` that an option means: a negative one counts from the end.
std::size_t axis_of(Dim axis, const Shape& shape);

/// The scores of a classifier, cut at the axis of the classes.
kernels::SoftmaxShape classes_along(Dim axis, const Shape& scores);

/// An element of one of the layer's tensors, as a double; waits for it. For messages.
double element(const LayerIO& io, const Tensor& tensor, Dim index);

/// Sets all elements of one of the layer's tensors.
void fill(LayerIO& io, Tensor& tensor, double value);

/// Zeroed memory of the layer's own, where the net runs.
std::shared_ptr<std::byte> own_memory(kernels::Backend& backend, std::size_t bytes);

}  // namespace sparknet
