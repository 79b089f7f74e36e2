#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Whether what misses the margin is added up, or its square.
enum class HingeNorm : std::uint8_t { L1, L2 };
/// "HingeNorm::L1"
std::string to_text(HingeNorm value);

struct HingeLossOptions {
  HingeNorm norm = HingeNorm::L1;
  double loss_weight = 1;

  bool operator==(const HingeLossOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = HingeLossOptions;
    visit("norm", &O::norm);
    visit("loss_weight", &O::loss_weight);
  }
};

/// The loss of a classifier with a margin, one against all others: the mean over the examples of the sum over the
/// classes of m, or of m^2, with m = max(1 - score, 0) for the label's class and max(1 + score, 0) for the others.
/// Caffe's HingeLoss.
/// Scores [N, classes] and labels [N] or [N, 1] -> [1]; scores [N, ...] have as many classes as an example has numbers.
/// Labels as for SoftmaxWithLoss.
///
///     HingeLoss{"loss", {"ip", "label"}, {.norm = HingeNorm::L2}}
struct HingeLoss {
  static constexpr std::string_view type = "HingeLoss";
  std::string name;
  Inputs<2> bottom;  // scores, labels
  HingeLossOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const HingeLoss&) const = default;
};

}  // namespace sparknet
