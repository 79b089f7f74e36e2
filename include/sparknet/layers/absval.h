#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// y = |x|. Caffe's AbsVal. The top has the shape of the bottom. The gradient at 0 is 0.
///
///     AbsValLayer{"abs", {"ip1"}}
struct AbsValLayer {
  static constexpr std::string_view type = "AbsValLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const AbsValLayer&) const = default;
};

}  // namespace sparknet
