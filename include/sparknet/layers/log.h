#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct LogOptions {
  /// Positive and not 1, or -1 for e.
  double base = -1;
  double scale = 1;
  double shift = 0;

  bool operator==(const LogOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = LogOptions;
    visit("base", &O::base);
    visit("scale", &O::scale);
    visit("shift", &O::shift);
  }
};

/// y = log(shift + scale x) to the base `base`; -inf where that is the logarithm of 0, NaN below. Caffe's Log.
/// The top has the shape of the bottom.
///
///     LogLayer{"decades", {"ip1"}, {.base = 10, .shift = 1}}
struct LogLayer {
  static constexpr std::string_view type = "LogLayer";
  std::string name;
  Inputs<1> bottom;
  LogOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const LogLayer&) const = default;
};

}  // namespace sparknet
