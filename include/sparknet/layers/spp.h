#pragma once

#include "sparknet/layers/pooling.h"

namespace sparknet {

struct SPPOptions {
  /// Level i of the pyramid has 2^i x 2^i windows.
  Dim pyramid_height = 0;  // required
  Pooling pooling = Pooling::Max;

  bool operator==(const SPPOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SPPOptions;
    visit("pyramid_height", &O::pyramid_height);
    visit("pooling", &O::pooling);
  }
};

/// Spatial pyramid pooling (He et al. 2014): the image is pooled by 1, 4, 16, ... windows, and the levels follow one
/// another, so that images of any size yield as many numbers. Caffe's SPP, where `pooling` is pool.
/// [N, C, H, W] -> [N, C * (1 + 4 + .. + 4^(pyramid_height - 1))]; with one level [N, C, 1, 1].
/// The windows of a level are ceil(H / 2^i) x ceil(W / 2^i) and side by side; the image is padded as needed. An image
/// that is too small for that is refused, and stochastic pooling takes no padding.
///
///     SPPLayer{"pyramid", {"conv5"}, {.pyramid_height = 3}}
struct SPPLayer {
  static constexpr std::string_view type = "SPPLayer";
  std::string name;
  Inputs<1> bottom;
  SPPOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SPPLayer&) const = default;
};

}  // namespace sparknet
