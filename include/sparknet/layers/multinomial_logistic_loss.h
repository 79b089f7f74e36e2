#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct MultinomialLogisticLossOptions {
  double loss_weight = 1;

  bool operator==(const MultinomialLogisticLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = MultinomialLogisticLossOptions;
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a classifier whose scores are probabilities already: the mean over the examples of -log(p[label]), where
/// p is 1e-20 at least. Caffe's MultinomialLogisticLoss. (For scores of any kind SoftmaxWithLoss is the better one.)
/// Probabilities [N, classes] and labels [N] or [N, 1] -> [1]; probabilities [N, ...] have as many classes as an
/// example has numbers. Labels as for SoftmaxWithLoss.
///
///     MultinomialLogisticLoss{"loss", {"prob", "label"}}
struct MultinomialLogisticLoss {
  static constexpr std::string_view type = "MultinomialLogisticLoss";
  std::string name;
  Inputs<2> bottom;  // probabilities, labels
  MultinomialLogisticLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const MultinomialLogisticLoss&) const = default;
};

}  // namespace sparknet
