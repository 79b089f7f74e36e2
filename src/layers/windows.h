#pragma once

// What the layers that slide a window share: convolution, deconvolution and im2col.

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/convolution_nd.h"

namespace sparknet {

/// Refuses options that fit no image, and an input that is none or whose channels `group` does not divide.
void require_convolution(const ConvolutionOptions& options, const Shape& in);
/// Refuses a group that does not divide the channels and the outputs.
void require_group(Dim group, Dim channels, Dim num_output);
/// What a dilated kernel spans along an axis; refuses more than can be counted.
Dim extent_of(Dim kernel, Dim dilation);
/// What a deconvolution makes of `size` places, as if it had no pad; refuses more than can be counted.
Dim deconvolved(Dim size, Dim stride, Dim extent);
/// The same convolution over all axes behind the channels, where `in` is no image and each option is one number; else
/// nothing.
std::optional<ConvolutionNdOptions> over_all_axes(const ConvolutionOptions& options, const Shape& in);
/// What a dilated kernel spans.
Size2 extent(const ConvolutionOptions& options);
/// The convolution of such an image.
kernels::ConvolutionShape convolution_shape(const ConvolutionOptions& options, const Shape& image, Dim num_output);

/// A window over any number of axes, as the options of three layers name it.
struct WindowOptions {
  std::span<const Dim> kernel, stride, pad, dilation;
  Dim axis;
};

/// Checks the options and the input, axis by axis. `size` is that of the input; whether a kernel fits is not checked.
kernels::WindowShape window_of(const WindowOptions& options, const Shape& in);
template <class Options>
kernels::WindowShape window_of(const Options& o, const Shape& in) {
  return window_of(WindowOptions{o.kernel, o.stride, o.pad, o.dilation, o.axis}, in);
}
/// Refuses a window that is larger than its padded image.
void require_fit(const kernels::WindowShape& window);
/// The shape of `in` with other channels and other sizes behind them.
Shape with_windows(const Shape& in, Dim axis, Dim channels, std::span<const Dim> sizes);
/// The shape of weights: [first, second, kernel...].
Shape weights_of(const kernels::WindowShape& window, Dim first, Dim second);
/// How many windows there are along each axis.
std::vector<Dim> windows_of(const kernels::WindowShape& window);

}  // namespace sparknet
