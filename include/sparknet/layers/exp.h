#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ExpOptions {
  /// Positive, or -1 for e.
  double base = -1;
  double scale = 1;
  double shift = 0;

  bool operator==(const ExpOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ExpOptions;
    visit("base", &O::base);
    visit("scale", &O::scale);
    visit("shift", &O::shift);
  }
};

/// y = base^(shift + scale x). Caffe's Exp. The top has the shape of the bottom.
///
///     ExpLayer{"doubled", {"ip1"}, {.base = 2}}
struct ExpLayer {
  static constexpr std::string_view type = "ExpLayer";
  std::string name;
  Inputs<1> bottom;
  ExpOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ExpLayer&) const = default;
};

}  // namespace sparknet
