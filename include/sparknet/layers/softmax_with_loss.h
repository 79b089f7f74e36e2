#pragma once

#include "sparknet/layers/normalization.h"
#include "sparknet/net_param.h"

namespace sparknet {

struct SoftmaxWithLossOptions {
  /// Labels of this value, which may be outside of the classes, add nothing to the loss and have no gradient.
  std::optional<Dim> ignore_label = {};
  Normalization normalization = Normalization::Valid;
  /// The axis of the classes; a negative one counts from the end.
  Dim axis = 1;
  /// The share of a label that all classes are given alike, from 0 to 1: the target is label_smoothing / classes for
  /// every class, and 1 - label_smoothing more for the label's. Not in Caffe. Szegedy et al. 2016.
  double label_smoothing = 0;
  double loss_weight = 1;

  bool operator==(const SoftmaxWithLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SoftmaxWithLossOptions;
    visit("ignore_label", &O::ignore_label);
    visit("normalization", &O::normalization);
    visit("axis", &O::axis);
    visit("label_smoothing", &O::label_smoothing);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a classifier: the mean of -log(softmax(scores)[label]). Caffe's SoftmaxWithLoss.
/// Scores [N, classes] and labels [N] or [N, 1] -> [1]; or scores [N, classes, H, W] and a label for each pixel,
/// [N, H, W] or [N, 1, H, W]. Labels are whole numbers from 0 to classes - 1 in a blob of the net's dtype; any other is
/// a BadInput. Where no label counts, the divisor of the mean is 1. A second top, of the shape of the scores, is
/// softmax(scores) (whose gradient counts, which Caffe drops).
///
///     SoftmaxWithLoss{"loss", {"ip2", "label"}}
struct SoftmaxWithLoss {
  static constexpr std::string_view type = "SoftmaxWithLoss";
  std::string name;
  Inputs<2> bottom;  // scores, labels
  SoftmaxWithLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // the loss[, the probabilities]
  std::unique_ptr<Layer> make() const;
  bool operator==(const SoftmaxWithLoss&) const = default;
};

}  // namespace sparknet
