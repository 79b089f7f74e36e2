#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ClipOptions {
  std::optional<double> min = {};  // required
  std::optional<double> max = {};  // required

  bool operator==(const ClipOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ClipOptions;
    visit("min", &O::min);
    visit("max", &O::max);
  }
};

/// y = x, but not below min and not above max. Caffe's Clip. The top has the shape of the bottom.
/// The gradient goes through where min <= x <= max, the borders included. Infinity limits one side only.
///
///     ClipLayer{"relu6", {"conv1"}, {.min = 0, .max = 6}}
struct ClipLayer {
  static constexpr std::string_view type = "ClipLayer";
  std::string name;
  Inputs<1> bottom;
  ClipOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ClipLayer&) const = default;
};

}  // namespace sparknet
