#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ThresholdOptions {
  double threshold = 0;

  bool operator==(const ThresholdOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ThresholdOptions;
    visit("threshold", &O::threshold);
  }
};

/// y = x > threshold ? 1 : 0. Caffe's Threshold. The top has the shape of the bottom.
/// It has no gradient: where a layer before it would learn from one, backward throws a NetError.
///
///     ThresholdLayer{"binary", {"data"}, {.threshold = 0.5}}
struct ThresholdLayer {
  static constexpr std::string_view type = "ThresholdLayer";
  std::string name;
  Inputs<1> bottom;
  ThresholdOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ThresholdLayer&) const = default;
};

}  // namespace sparknet
