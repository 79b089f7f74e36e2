#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ConvolutionOptions {
  Size2 kernel;    // required
  Dim num_output;  // required
  Size2 stride = 1;
  /// Rows and columns of zeros on each side.
  Size2 pad = 0;
  /// The distance between the elements of the input that neighbours of the kernel meet.
  Size2 dilation = 1;
  /// Channels and outputs are cut into this many groups, and a group of outputs sees its group of channels only.
  Dim group = 1;
  bool bias = true;
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const ConvolutionOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ConvolutionOptions;
    visit("kernel", &O::kernel);
    visit("num_output", &O::num_output);
    visit("stride", &O::stride);
    visit("pad", &O::pad);
    visit("dilation", &O::dilation);
    visit("group", &O::group);
    visit("bias", &O::bias);
    visit("weight_filler", &O::weight_filler);
    visit("bias_filler", &O::bias_filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// Cross-correlation of an image with learned kernels, plus a bias for each output. Caffe's Convolution, where the
/// options are kernel_size, bias_term and the rest by the same names; Caffe's default filler is constant 0.
/// [N, C, H, W] -> [N, num_output, (H + 2 pad - dilation (kernel - 1) - 1) / stride + 1, ...], rounded down.
/// [N, C, D, ...] of other than two spatial axes goes by Caffe's rule that one number is for all axes: what is 3x3 here
/// is 3x3x3 there, and what is 3x5 is refused (ConvolutionNdLayer has a number for each).
/// Parameters: "weights" [num_output, C / group, kernel...] and, with `bias`, "bias" [num_output].
///
///     ConvolutionLayer{"conv1", {"data"}, {.kernel = {5, 5}, .num_output = 20}}
struct ConvolutionLayer {
  static constexpr std::string_view type = "ConvolutionLayer";
  std::string name;
  Inputs<1> bottom;
  ConvolutionOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ConvolutionLayer&) const = default;
};

}  // namespace sparknet
