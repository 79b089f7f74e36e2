#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct EuclideanLossOptions {
  double loss_weight = 1;

  bool operator==(const EuclideanLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = EuclideanLossOptions;
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a regression: the sum of (prediction - target)^2, divided by twice the number of examples. Caffe's
/// EuclideanLoss. Gradients flow into both bottoms.
/// [N, ...] and [N, ...], as many numbers for each example -> [1].
///
///     EuclideanLoss{"loss", {"ip", "target"}}
struct EuclideanLoss {
  static constexpr std::string_view type = "EuclideanLoss";
  std::string name;
  Inputs<2> bottom;  // predictions, targets
  EuclideanLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const EuclideanLoss&) const = default;
};

}  // namespace sparknet
