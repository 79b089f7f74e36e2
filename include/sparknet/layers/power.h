#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct PowerOptions {
  double power = 1;
  double scale = 1;
  double shift = 0;

  bool operator==(const PowerOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = PowerOptions;
    visit("power", &O::power);
    visit("scale", &O::scale);
    visit("shift", &O::shift);
  }
};

/// y = (shift + scale x)^power. Caffe's Power. The top has the shape of the bottom. A power of 0 is 1 whatever x, and a
/// scale of 0 is shift^power whatever x; neither has a gradient. A negative number to a power that is not whole is NaN.
///
///     PowerLayer{"standardized", {"data"}, {.scale = 0.5, .shift = -1}}
struct PowerLayer {
  static constexpr std::string_view type = "PowerLayer";
  std::string name;
  Inputs<1> bottom;
  PowerOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const PowerLayer&) const = default;
};

}  // namespace sparknet
