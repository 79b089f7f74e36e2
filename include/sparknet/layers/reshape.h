#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ReshapeOptions {
  /// The dimensions of the top: 0 takes the one of the bottom at the same place, and one may be -1, for what is left.
  Shape shape = {};
  /// The first of the bottom's axes that `shape` stands for, those before it staying as they are; -1: behind the last.
  Dim axis = 0;
  /// How many of the bottom's axes `shape` stands for, those behind them staying as they are; -1: all.
  Dim num_axes = -1;

  bool operator==(const ReshapeOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ReshapeOptions;
    visit("shape", &O::shape);
    visit("axis", &O::axis);
    visit("num_axes", &O::num_axes);
  }
};

/// The same elements in another shape. Caffe's Reshape.
/// [64, 800] -> [64, 50, 16] with .shape = {0, 50, -1}; -> [64, 2, 400] with .shape = {2, -1}, .axis = 1;
/// -> [64, 1, 800] with .shape = {1}, .axis = 1, .num_axes = 0. Costs nothing where nobody else reads the bottom.
///
///     ReshapeLayer{"image", {"ip1"}, {.shape = {0, 50, 4, 4}}}
struct ReshapeLayer {
  static constexpr std::string_view type = "ReshapeLayer";
  std::string name;
  Inputs<1> bottom;
  ReshapeOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ReshapeLayer&) const = default;
};

}  // namespace sparknet
