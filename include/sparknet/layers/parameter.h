#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ParameterOptions {
  /// Of the parameter and the top.
  Shape shape = {};  // required
  Filler filler = Filler::constant(0);
  double lr_mult = 1;
  double decay_mult = 1;

  bool operator==(const ParameterOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ParameterOptions;
    visit("shape", &O::shape);
    visit("filler", &O::filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// A blob that is learned: the top is the parameter "weights" of this shape, and there is no bottom. Caffe's Parameter,
/// which has no filler and starts from 0.
///
///     ParameterLayer{"anchors", {.shape = {1, 64}, .filler = Filler::gaussian(0, 1)}}
struct ParameterLayer {
  static constexpr std::string_view type = "ParameterLayer";
  std::string name;
  ParameterOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ParameterLayer&) const = default;
};

}  // namespace sparknet
