#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct FlattenOptions {
  /// The first and the last of the axes that become one; negative ones count from the end.
  Dim axis = 1, end_axis = -1;

  bool operator==(const FlattenOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = FlattenOptions;
    visit("axis", &O::axis);
    visit("end_axis", &O::end_axis);
  }
};

/// The same elements, with one axis in place of those from `axis` to `end_axis`. Caffe's Flatten.
/// [N, C, H, W] -> [N, C * H * W]; or with .axis = 2 -> [N, C, H * W]. An `end_axis` that is the axis before `axis`
/// inserts an axis of one element. Costs nothing where nobody else reads the bottom.
///
///     FlattenLayer{"flat", {"pool2"}}
struct FlattenLayer {
  static constexpr std::string_view type = "FlattenLayer";
  std::string name;
  Inputs<1> bottom;
  FlattenOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const FlattenLayer&) const = default;
};

}  // namespace sparknet
