#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct SwishOptions {
  double beta = 1;

  bool operator==(const SwishOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SwishOptions;
    visit("beta", &O::beta);
  }
};

/// y = x / (1 + e^(-beta x)), that is x sigmoid(beta x). Caffe's Swish. The top has the shape of the bottom.
///
///     SwishLayer{"swish1", {"ip1"}}
struct SwishLayer {
  static constexpr std::string_view type = "SwishLayer";
  std::string name;
  Inputs<1> bottom;
  SwishOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SwishLayer&) const = default;
};

}  // namespace sparknet
