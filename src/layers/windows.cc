#include "src/layers/windows.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

using Sizes = kernels::WindowShape::Sizes;

/// An option's numbers for each axis; `least` is the least that makes sense.
Sizes sizes_of(std::string_view option, std::span<const Dim> given, std::size_t axes, Dim otherwise, Dim least) {
  require(
      given.size() <= 1 || given.size() == axes,
      "option .{} holds {} numbers and its input has {} spatial axes: give one number for all, or one for each",
      option,
      given.size(),
      axes);
  Sizes sizes{};
  for (std::size_t i = 0; i < axes; ++i) {
    sizes[i] = given.empty() ? otherwise : given[given.size() == 1 ? 0 : i];
    require(
        sizes[i] >= least,
        "option .{} must {}, not {}",
        option,
        least > 0 ? "be positive" : "not be negative",
        sizes[i]);
  }
  return sizes;
}

std::string text_of(const Sizes& sizes, int axes) {
  std::string text;
  for (int i = 0; i < axes; ++i) text += (i ? "x" : "") + std::to_string(sizes[static_cast<std::size_t>(i)]);
  return text;
}

}  // namespace

void require_group(Dim group, Dim channels, Dim num_output) {
  require(channels % group == 0, "group {} does not divide the {} channels of its input", group, channels);
  require(num_output % group == 0, "group {} does not divide num_output {}", group, num_output);
}

Dim extent_of(Dim kernel, Dim dilation) {
  Dim extent = 0;
  require(
      !__builtin_mul_overflow(dilation, kernel - 1, &extent) && !__builtin_add_overflow(extent, 1, &extent),
      "option .dilation is {}, which is too much for a kernel of {}",
      dilation,
      kernel);
  return extent;
}

Dim deconvolved(Dim size, Dim stride, Dim extent) {
  Dim result = 0;
  require(
      !__builtin_mul_overflow(stride, size - 1, &result) && !__builtin_add_overflow(result, extent, &result),
      "option .stride is {}, which is too much for its input",
      stride);
  return result;
}

kernels::WindowShape window_of(const WindowOptions& o, const Shape& in) {
  const std::size_t axis = axis_of(o.axis, in), axes = in.size() - axis - 1;
  require(!o.kernel.empty() || axes == 0, "option .kernel is required");
  kernels::WindowShape window{};
  window.batch = in.count(0, axis);
  window.channels = in[axis];
  window.axes = static_cast<int>(axes);
  for (std::size_t i = 0; i < axes; ++i) window.size[i] = in[axis + 1 + i];
  window.kernel = sizes_of("kernel", o.kernel, axes, 1, 1);
  window.stride = sizes_of("stride", o.stride, axes, 1, 1);
  window.pad = sizes_of("pad", o.pad, axes, 0, 0);
  window.dilation = sizes_of("dilation", o.dilation, axes, 1, 1);
  return window;
}

void require_fit(const kernels::WindowShape& window) {
  Sizes extent{}, padded{};
  bool fits = true;
  for (std::size_t i = 0; i < static_cast<std::size_t>(window.axes); ++i) {
    extent[i] = extent_of(window.kernel[i], window.dilation[i]);
    padded[i] = window.size[i] + 2 * window.pad[i];
    fits = fits && extent[i] <= padded[i];
  }
  require(
      fits,
      "kernel {}{} is larger than its {} input (pad included)",
      text_of(window.kernel, window.axes),
      extent == window.kernel ? "" : ", dilated to " + text_of(extent, window.axes) + ",",
      text_of(padded, window.axes));
}

Shape with_windows(const Shape& in, Dim axis, Dim channels, std::span<const Dim> sizes) {
  const std::size_t at = axis_of(axis, in);
  Shape shape = in;
  shape[at] = channels;
  for (std::size_t i = 0; i < sizes.size(); ++i) shape[at + 1 + i] = sizes[i];
  return shape;
}

Shape weights_of(const kernels::WindowShape& window, Dim first, Dim second) {
  require(
      window.axes + 2 <= static_cast<int>(Shape::max_rank),
      "its weights would have {} dimensions and may have at most {}",
      window.axes + 2,
      Shape::max_rank);
  Shape shape{first, second};
  for (int i = 0; i < window.axes; ++i) shape.push_back(window.kernel[static_cast<std::size_t>(i)]);
  return shape;
}

std::vector<Dim> windows_of(const kernels::WindowShape& window) {
  std::vector<Dim> windows;
  for (int i = 0; i < window.axes; ++i) windows.push_back(window.out(i));
  return windows;
}

}  // namespace sparknet
