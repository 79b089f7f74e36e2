#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// `kernel`, `stride`, `pad` and `dilation` hold one number for each spatial axis, or one for all: `{3, 3, 3}` or
/// `{3}`.
struct ConvolutionNdOptions {
  std::vector<Dim> kernel;  // required
  Dim num_output;           // required
  std::vector<Dim> stride = {1};
  /// Zeros on each side of an axis.
  std::vector<Dim> pad = {0};
  /// The distance between the elements of the input that neighbours of the kernel meet.
  std::vector<Dim> dilation = {1};
  /// Channels and outputs are cut into this many groups, and a group of outputs sees its group of channels only.
  Dim group = 1;
  bool bias = true;
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};
  /// The axis of the channels: those before it are a batch, those behind it are spatial. A negative one counts from the
  /// end.
  Dim axis = 1;

  bool operator==(const ConvolutionNdOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ConvolutionNdOptions;
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
    visit("axis", &O::axis);
  }
};

/// ConvolutionLayer for any number of spatial axes: signals, images, volumes. Caffe's Convolution with as many numbers
/// in kernel_size as there are spatial axes. (ConvolutionLayer has one or two, so that the compiler counts those of an
/// image; over two axes both run the same.)
/// [N, C, D, ...] -> [N, num_output, (D + 2 pad - dilation (kernel - 1) - 1) / stride + 1, ...], rounded down.
/// Parameters: "weights" [num_output, C / group, kernel...] and, with `bias`, "bias" [num_output].
///
///     ConvolutionNdLayer{"conv1", {"volume"}, {.kernel = {3, 3, 3}, .num_output = 16, .pad = {1}}}
struct ConvolutionNdLayer {
  static constexpr std::string_view type = "ConvolutionNdLayer";
  std::string name;
  Inputs<1> bottom;
  ConvolutionNdOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ConvolutionNdLayer&) const = default;
};

}  // namespace sparknet
