#pragma once

// What several layers need: checks of options and shapes, and the labels of a classifier.

#include <fmt/format.h>

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
/// Refuses labels that are not one for each distribution of the scores.
void require_labels(Dim axis, const Shape& scores, const Shape& labels);
/// Refuses the label with number `index` of all labels.
[[noreturn]] void refuse_label(const Tensor& labels, Dim index, Dim classes);

/// An element of a dense tensor of any type, as a double.
double element(const Tensor& tensor, Dim index);

}  // namespace sparknet
