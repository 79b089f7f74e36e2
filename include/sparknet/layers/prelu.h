#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct PReLUOptions {
  /// One slope for all channels.
  bool channel_shared = false;
  Filler filler = Filler::constant(0.25);
  double lr_mult = 1;
  double decay_mult = 1;

  bool operator==(const PReLUOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = PReLUOptions;
    visit("channel_shared", &O::channel_shared);
    visit("filler", &O::filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// y = x > 0 ? x : slope * x, with a learned slope for each channel. Caffe's PReLU; He et al. 2015.
/// [N, C, ...] -> the same. Parameter: "slope" [C], or one number with `channel_shared`.
///
///     PReLULayer{"prelu1", {"conv1"}}
struct PReLULayer {
  static constexpr std::string_view type = "PReLULayer";
  std::string name;
  Inputs<1> bottom;
  PReLUOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const PReLULayer&) const = default;
};

}  // namespace sparknet
