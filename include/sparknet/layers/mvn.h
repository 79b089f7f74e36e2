#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct MVNOptions {
  /// Divides by the standard deviation as well.
  bool normalize_variance = true;
  /// Takes the mean and the deviation over all channels of an example rather than over each.
  bool across_channels = false;
  /// Added to the standard deviation.
  double eps = 1e-9;

  bool operator==(const MVNOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = MVNOptions;
    visit("normalize_variance", &O::normalize_variance);
    visit("across_channels", &O::across_channels);
    visit("eps", &O::eps);
  }
};

/// y = (x - mean) / (deviation + eps), for each channel of each example. Caffe's MVN.
/// [N, C, ...] -> the same. The gradient is that of this formula; Caffe's leaves out what eps changes in it.
///
///     MVNLayer{"normalized", {"data"}}
struct MVNLayer {
  static constexpr std::string_view type = "MVNLayer";
  std::string name;
  Inputs<1> bottom;
  MVNOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const MVNLayer&) const = default;
};

}  // namespace sparknet
