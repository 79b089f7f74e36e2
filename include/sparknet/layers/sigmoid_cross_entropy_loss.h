#pragma once

#include "sparknet/layers/normalization.h"
#include "sparknet/net_param.h"

namespace sparknet {

struct SigmoidCrossEntropyLossOptions {
  /// Targets whose whole part is this add nothing to the loss and have no gradient.
  std::optional<Dim> ignore_label = {};
  /// Full and Valid count targets, BatchSize examples.
  Normalization normalization = Normalization::BatchSize;
  double loss_weight = 1;

  bool operator==(const SigmoidCrossEntropyLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SigmoidCrossEntropyLossOptions;
    visit("ignore_label", &O::ignore_label);
    visit("normalization", &O::normalization);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of independent yes-or-no questions: -t log(s) - (1 - t) log(1 - s) for each score and its target t, where s
/// is sigmoid(score), added up and divided as `normalization` says. Caffe's SigmoidCrossEntropyLoss, whose `normalize`
/// is Normalization::Valid. Targets are numbers from 0 to 1, which is not checked.
/// [N, ...] and [N, ...], as many numbers for each example -> [1].
///
///     SigmoidCrossEntropyLoss{"loss", {"ip", "target"}}
struct SigmoidCrossEntropyLoss {
  static constexpr std::string_view type = "SigmoidCrossEntropyLoss";
  std::string name;
  Inputs<2> bottom;  // scores, targets
  SigmoidCrossEntropyLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SigmoidCrossEntropyLoss&) const = default;
};

}  // namespace sparknet
