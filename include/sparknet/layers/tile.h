#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct TileOptions {
  /// The axis to repeat; a negative one counts from the end.
  Dim axis = 1;
  /// How many times.
  Dim tiles = 0;  // required

  bool operator==(const TileOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = TileOptions;
    visit("axis", &O::axis);
    visit("tiles", &O::tiles);
  }
};

/// Its bottom over and over, `tiles` times along `axis`. Caffe's Tile.
/// [N, C, H, W] -> [N, tiles * C, H, W].
///
///     TileLayer{"twice", {"conv1"}, {.tiles = 2}}
struct TileLayer {
  static constexpr std::string_view type = "TileLayer";
  std::string name;
  Inputs<1> bottom;
  TileOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const TileLayer&) const = default;
};

}  // namespace sparknet
