#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// y = 1 / (1 + e^-x). Caffe's Sigmoid. The top has the shape of the bottom.
///
///     SigmoidLayer{"sigmoid1", {"ip1"}}
struct SigmoidLayer {
  static constexpr std::string_view type = "SigmoidLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SigmoidLayer&) const = default;
};

}  // namespace sparknet
