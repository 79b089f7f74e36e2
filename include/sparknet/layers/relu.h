#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ReLUOptions {
  /// What negative numbers are multiplied by.
  double negative_slope = 0;

  bool operator==(const ReLUOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ReLUOptions;
    visit("negative_slope", &O::negative_slope);
  }
};

/// y = x > 0 ? x : negative_slope * x. Caffe's ReLU. The top has the shape of the bottom.
/// Costs no pass and no memory of its own after a convolution or an inner product, unless negative_slope < 0.
///
///     ReLULayer{"relu1", {"ip1"}}
struct ReLULayer {
  static constexpr std::string_view type = "ReLULayer";
  std::string name;
  Inputs<1> bottom;
  ReLUOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ReLULayer&) const = default;
};

}  // namespace sparknet
