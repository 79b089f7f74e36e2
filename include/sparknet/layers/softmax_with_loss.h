#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// What a sum over labels is divided by: all labels, those that are not ignored, the examples of the batch, or 1.
enum class Normalization : std::uint8_t { Full, Valid, BatchSize, None };
/// "Normalization::Valid"
std::string to_text(Normalization value);

struct SoftmaxWithLossOptions {
  /// Labels of this value, which may be outside of the classes, add nothing to the loss and have no gradient.
  std::optional<Dim> ignore_label = {};
  Normalization normalization = Normalization::Valid;
  /// The axis of the classes; a negative one counts from the end.
  Dim axis = 1;
  double loss_weight = 1;

  bool operator==(const SoftmaxWithLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SoftmaxWithLossOptions;
    visit("ignore_label", &O::ignore_label);
    visit("normalization", &O::normalization);
    visit("axis", &O::axis);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a classifier: the mean of -log(softmax(scores)[label]). Caffe's SoftmaxWithLoss.
/// Scores [N, classes] and labels [N] or [N, 1] -> [1]; or scores [N, classes, H, W] and a label for each pixel,
/// [N, H, W] or [N, 1, H, W]. Labels are whole numbers from 0 to classes - 1 in a blob of the net's dtype; any other is
/// a BadInput. Where no label counts, the divisor of the mean is 1.
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
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SoftmaxWithLoss&) const = default;
};

}  // namespace sparknet
