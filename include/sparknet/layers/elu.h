#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ELUOptions {
  /// How far below 0 the output can go.
  double alpha = 1;

  bool operator==(const ELUOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ELUOptions;
    visit("alpha", &O::alpha);
  }
};

/// y = x > 0 ? x : alpha (e^x - 1). Caffe's ELU. The top has the shape of the bottom.
///
///     ELULayer{"elu1", {"ip1"}, {.alpha = 0.5}}
struct ELULayer {
  static constexpr std::string_view type = "ELULayer";
  std::string name;
  Inputs<1> bottom;
  ELUOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ELULayer&) const = default;
};

}  // namespace sparknet
