#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct GELUOptions {
  /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 instead, as some published weights want it.
  bool tanh_approximation = false;

  bool operator==(const GELUOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = GELUOptions;
    visit("tanh_approximation", &O::tanh_approximation);
  }
};

/// y = x P(x), P being the standard normal distribution: x (1 + erf(x / sqrt(2))) / 2. Not in Caffe. The top has the
/// shape of the bottom.
///
///     GELULayer{"gelu1", {"ip1"}}
struct GELULayer {
  static constexpr std::string_view type = "GELULayer";
  std::string name;
  Inputs<1> bottom;
  GELUOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const GELULayer&) const = default;
};

}  // namespace sparknet
