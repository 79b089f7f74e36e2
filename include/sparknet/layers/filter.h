#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct FilterOptions {
  /// What fills the rows behind the kept ones, a number for each data bottom. Empty: 0.
  std::vector<double> pad = {};

  bool operator==(const FilterOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = FilterOptions;
    visit("pad", &O::pad);
  }
};

/// The items of a batch whose selector, the last bottom, is not 0. Caffe's Filter, with tops of a fixed shape.
/// [N, ...], ... and a selector [N] or [N, 1, ...] -> [N, ...], ..., a top for each data bottom. The m items that are
/// kept come first, in their order; the N - m rows behind them hold `pad`. One more top, where it is given a name, is
/// m, [1]. A kept item gets the gradient of its row, the others 0; the selector and m have none.
///
/// Caffe's tops have m rows, another number in each pass. Here all that follows sees N rows. A loss is Caffe's where it
/// has an `ignore_label` that is the `pad` of the labels, and Normalization::Valid, which divides by the labels that
/// count; an Accuracy needs the `ignore_label` alone. Losses without one divide by N, and layers that mix the items of
/// a batch, as BatchNorm does, see the padding. Caffe's files do not say what pads, so a Filter in one is refused until
/// it has a `filter_param { pad: 0 pad: -1 }`, which Caffe does not know.
///
///     with(FilterLayer{"known", {"features", "label", "is_known"}, {.pad = {0, -1}}},
///          {.top = {"known_features", "known_label"}}),
///     InnerProductLayer{"scores", {"known_features"}, {.num_output = 10}},
///     SoftmaxWithLoss{"loss", {"scores", "known_label"}, {.ignore_label = -1}}
struct FilterLayer {
  static constexpr std::string_view type = "FilterLayer";
  std::string name;
  AnyInputs bottom;  // one or more with a row for each item, then the selector
  FilterOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // one for each data bottom[, m]
  std::unique_ptr<Layer> make() const;
  bool operator==(const FilterLayer&) const = default;
};

}  // namespace sparknet
