#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// The hyperbolic tangent. Caffe's TanH. The top has the shape of the bottom.
///
///     TanHLayer{"tanh1", {"ip1"}}
struct TanHLayer {
  static constexpr std::string_view type = "TanHLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const TanHLayer&) const = default;
};

}  // namespace sparknet
