#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct LayerNormOptions {
  /// The mean and the variance are over this axis and all behind it; a negative one counts from the end.
  Dim axis = -1;
  /// Added to the variance.
  double eps = 1e-5;
  /// Multiplies by a learned gamma and adds a learned beta.
  bool affine = true;
  /// Of gamma and of beta.
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const LayerNormOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = LayerNormOptions;
    visit("axis", &O::axis);
    visit("eps", &O::eps);
    visit("affine", &O::affine);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta, the mean and the variance being over the last axes of the
/// input. Ba, Kiros and Hinton 2016; PyTorch's LayerNorm. Caffe has none. The top has the shape of the bottom.
/// Parameters, with `affine`: "gamma", 1 at first, and "beta", 0 at first, both of the shape of the input from `axis`
/// on.
///
///     LayerNormLayer{"norm", {"ip1"}}
struct LayerNormLayer {
  static constexpr std::string_view type = "LayerNormLayer";
  std::string name;
  Inputs<1> bottom;
  LayerNormOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const LayerNormLayer&) const = default;
};

}  // namespace sparknet
