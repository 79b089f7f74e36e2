#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct SoftmaxOptions {
  /// The axis of the classes; a negative one counts from the end.
  Dim axis = 1;

  bool operator==(const SoftmaxOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SoftmaxOptions;
    visit("axis", &O::axis);
  }
};

/// Probabilities from scores: e^x / sum of e^x along `axis`. Caffe's Softmax. The top has the shape of the bottom.
/// To train, give the scores themselves to SoftmaxWithLoss.
///
///     SoftmaxLayer{"prob", {"ip2"}}
struct SoftmaxLayer {
  static constexpr std::string_view type = "SoftmaxLayer";
  std::string name;
  Inputs<1> bottom;
  SoftmaxOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SoftmaxLayer&) const = default;
};

}  // namespace sparknet
