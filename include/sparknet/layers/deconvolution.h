#pragma once

#include "sparknet/layers/convolution.h"

namespace sparknet {

/// A convolution the other way round: what each pixel of the input adds to the pixels that a convolution with the same
/// options would compute it from, plus a bias for each output. Also called transposed convolution. Caffe's
/// Deconvolution; the options are those of ConvolutionLayer.
/// [N, C, H, W] -> [N, num_output, stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad, ...].
/// Over other than two spatial axes as ConvolutionLayer.
/// Parameters: "weights" [C, num_output / group, kernel...] and, with `bias`, "bias" [num_output].
///
/// Scores made twice as large by bilinear interpolation, class by class:
///
///     DeconvolutionLayer{"up", {"score"}, {.kernel = 4, .num_output = 21, .stride = 2, .pad = 1, .group = 21,
///                        .bias = false, .weight_filler = Filler::bilinear(), .lr_mult = {.weights = 0}}}
struct DeconvolutionLayer {
  static constexpr std::string_view type = "DeconvolutionLayer";
  std::string name;
  Inputs<1> bottom;
  ConvolutionOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const DeconvolutionLayer&) const = default;
};

}  // namespace sparknet
