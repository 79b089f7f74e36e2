#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct AccuracyOptions {
  /// How many of the best scores the label's may be among.
  Dim top_k = 1;
  /// The axis of the classes; a negative one counts from the end.
  Dim axis = 1;
  /// Labels of this value, which may be outside of the classes, do not count.
  std::optional<Dim> ignore_label = {};

  bool operator==(const AccuracyOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = AccuracyOptions;
    visit("top_k", &O::top_k);
    visit("axis", &O::axis);
    visit("ignore_label", &O::ignore_label);
  }
};

/// The share of the labels that a classifier gets right, 0 where no label counts. Caffe's Accuracy, with its rule for
/// ties: a label is right where fewer than `top_k` other classes score as high as the label's or higher, so that a net
/// that gives all classes the same score gets nothing right. No gradient.
/// Scores and labels as for SoftmaxWithLoss -> [1]. A second top, [classes], is the share of each class's labels, 0 for
/// a class without any.
///
///     AccuracyLayer{"accuracy", {"ip2", "label"}, {}, Include::Test}
struct AccuracyLayer {
  static constexpr std::string_view type = "AccuracyLayer";
  std::string name;
  Inputs<2> bottom;  // scores, labels
  AccuracyOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // the share[, that of each class]
  std::unique_ptr<Layer> make() const;
  bool operator==(const AccuracyLayer&) const = default;
};

}  // namespace sparknet
