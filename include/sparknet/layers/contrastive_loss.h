#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ContrastiveLossOptions {
  /// How far apart a pair is to be that does not belong together.
  double margin = 1;
  /// Takes the margin from d^2 instead of d: max(margin - d^2, 0) instead of max(margin - d, 0)^2.
  bool legacy_version = false;
  double loss_weight = 1;

  bool operator==(const ContrastiveLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ContrastiveLossOptions;
    visit("margin", &O::margin);
    visit("legacy_version", &O::legacy_version);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of pairs, as from siamese nets: with d the distance of the two feature vectors of a pair, the sum over the
/// pairs of d^2 where they belong together and of max(margin - d, 0)^2 where they do not, divided by twice the number
/// of pairs. Caffe's ContrastiveLoss. Gradients flow into both feature vectors; as in Caffe that of a pair that does
/// not belong together is divided by d + 0.0001, and not by d, unless `legacy_version`.
/// [N, ...], [N, ...], as many features for each example, and labels [N] or [N, 1], 0 for pairs that do not belong
/// together -> [1].
///
///     ContrastiveLoss{"loss", {"feat", "feat_p", "sim"}, {.margin = 1}}
struct ContrastiveLoss {
  static constexpr std::string_view type = "ContrastiveLoss";
  std::string name;
  Inputs<3> bottom;  // features, features, labels
  ContrastiveLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ContrastiveLoss&) const = default;
};

}  // namespace sparknet
