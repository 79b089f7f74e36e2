#pragma once

#include "sparknet/layers/normalization.h"
#include "sparknet/net_param.h"

namespace sparknet {

struct InfogainLossOptions {
  /// The matrix, a row for each label. Empty: it is the third bottom.
  std::vector<std::vector<double>> infogain = {};
  /// Labels of this value, which may be outside of the classes, add nothing to the loss and have no gradient.
  std::optional<Dim> ignore_label = {};
  Normalization normalization = Normalization::Valid;
  /// The axis of the classes; a negative one counts from the end.
  Dim axis = 1;
  double loss_weight = 1;

  bool operator==(const InfogainLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = InfogainLossOptions;
    visit("infogain", &O::infogain);
    visit("ignore_label", &O::ignore_label);
    visit("normalization", &O::normalization);
    visit("axis", &O::axis);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a classifier whose mistakes are not all alike: the mean of the sum over the classes of
/// -H[label][class] * log(p[class]), where p is softmax(scores) and 1e-20 at least. With H the unit matrix it is
/// SoftmaxWithLoss. Caffe's InfogainLoss, where the matrix of a `source` file is read with the net.
/// Scores and labels as for SoftmaxWithLoss -> [1]. A third bottom may be H, classes * classes numbers row by row,
/// which has no gradient. A second top, of the shape of the scores, is p (whose gradient counts, which Caffe drops).
///
///     InfogainLoss{"loss", {"ip", "label"}, {.infogain = {{1, 0.5}, {0, 1}}}}
struct InfogainLoss {
  static constexpr std::string_view type = "InfogainLoss";
  std::string name;
  AnyInputs bottom;  // scores, labels[, H]
  InfogainLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // the loss[, p]
  std::unique_ptr<Layer> make() const;
  bool operator==(const InfogainLoss&) const = default;
};

}  // namespace sparknet
