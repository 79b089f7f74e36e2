#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// y = log(1 + e^x), the binomial normal log likelihood, also called softplus. Caffe's BNLL. The top has the shape of
/// the bottom.
///
///     BNLLLayer{"bnll1", {"ip1"}}
struct BNLLLayer {
  static constexpr std::string_view type = "BNLLLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const BNLLLayer&) const = default;
};

}  // namespace sparknet
