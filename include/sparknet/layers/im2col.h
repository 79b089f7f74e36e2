#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// `kernel`, `stride`, `pad` and `dilation` hold one number for each spatial axis, or one for all: `{3, 5}` or `{3}`.
struct Im2colOptions {
  std::vector<Dim> kernel = {};  // required
  std::vector<Dim> stride = {1};
  /// Zeros on each side of an axis.
  std::vector<Dim> pad = {0};
  /// The distance between the elements of the input that neighbours of the kernel meet.
  std::vector<Dim> dilation = {1};
  /// The axis of the channels; those behind it are spatial. A negative one counts from the end.
  Dim axis = 1;

  bool operator==(const Im2colOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = Im2colOptions;
    visit("kernel", &O::kernel);
    visit("stride", &O::stride);
    visit("pad", &O::pad);
    visit("dilation", &O::dilation);
    visit("axis", &O::axis);
  }
};

/// The windows of a convolution written out: channel c * kernel.h * kernel.w + i * kernel.w + j of the output holds
/// what element (i, j) of a kernel on channel c meets at each position. Any number of spatial axes. Caffe's Im2col.
/// [N, C, H, W] -> [N, C * kernel.h * kernel.w, (H + 2 pad - dilation (kernel - 1) - 1) / stride + 1, ...].
///
///     Im2colLayer{"patches", {"data"}, {.kernel = {5, 5}}}
struct Im2colLayer {
  static constexpr std::string_view type = "Im2colLayer";
  std::string name;
  Inputs<1> bottom;
  Im2colOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const Im2colLayer&) const = default;
};

}  // namespace sparknet
