#pragma once

#include "sparknet/layers/convolution_nd.h"

namespace sparknet {

/// DeconvolutionLayer for any number of spatial axes. Caffe's Deconvolution with as many numbers in kernel_size as
/// there are spatial axes; the options are those of ConvolutionNdLayer.
/// [N, C, D, ...] -> [N, num_output, stride (D - 1) + dilation (kernel - 1) + 1 - 2 pad, ...].
/// Parameters: "weights" [C, num_output / group, kernel...] and, with `bias`, "bias" [num_output].
///
///     DeconvolutionNdLayer{"up", {"volume"}, {.kernel = {2}, .num_output = 8, .stride = {2}}}
struct DeconvolutionNdLayer {
  static constexpr std::string_view type = "DeconvolutionNdLayer";
  std::string name;
  Inputs<1> bottom;
  ConvolutionNdOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const DeconvolutionNdLayer&) const = default;
};

}  // namespace sparknet
