#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct PermuteOptions {
  /// Axis i of the top is axis order[i] of the bottom; a negative one counts from the end. The axes that are not named
  /// follow in their order.
  std::vector<Dim> order = {};

  bool operator==(const PermuteOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = PermuteOptions;
    visit("order", &O::order);
  }
};

/// The axes of its bottom in another order. Permute of SSD, a fork of Caffe.
/// [N, C, H, W] -> [N, H, W, C] with .order = {0, 2, 3, 1}. Costs nothing where no elements change places and nobody
/// else reads the bottom.
///
///     PermuteLayer{"channels_last", {"conv4"}, {.order = {0, 2, 3, 1}}}
struct PermuteLayer {
  static constexpr std::string_view type = "PermuteLayer";
  std::string name;
  Inputs<1> bottom;
  PermuteOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const PermuteLayer&) const = default;
};

}  // namespace sparknet
