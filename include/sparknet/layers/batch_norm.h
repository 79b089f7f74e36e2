#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct BatchNormOptions {
  /// Whether to normalise by the running statistics rather than by the batch's own; {}: in the test phase only.
  std::optional<bool> use_global_stats = {};
  /// What is left of the running statistics when a batch comes in.
  double moving_average_fraction = 0.999;
  /// Added to the variance.
  double eps = 1e-5;

  bool operator==(const BatchNormOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = BatchNormOptions;
    visit("use_global_stats", &O::use_global_stats);
    visit("moving_average_fraction", &O::moving_average_fraction);
    visit("eps", &O::eps);
  }
};

/// y = (x - mean) / sqrt(variance + eps), for each channel (axis 1; an input of one axis is one channel). Caffe's
/// BatchNorm, which has no scale and shift: let a ScaleLayer with `bias` follow. The top has the shape of the bottom.
/// Parameters, none of which is learned by the solver: "mean" [C] and "variance" [C], which are sums over batches that
/// fade by `moving_average_fraction`, and "factor" [1], which they are to be divided by. Every forward pass by the
/// batch's own statistics adds to them, the variance by n - 1.
///
///     BatchNormLayer{"norm1", {"conv1"}},
///     ScaleLayer{"scale1", {"norm1"}, {.bias = true}}
struct BatchNormLayer {
  static constexpr std::string_view type = "BatchNormLayer";
  std::string name;
  Inputs<1> bottom;
  BatchNormOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const BatchNormLayer&) const = default;
};

}  // namespace sparknet
