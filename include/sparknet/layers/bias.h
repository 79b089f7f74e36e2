#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct BiasOptions {
  /// The first axis of the input that the numbers lie along; a negative one counts from the end.
  Dim axis = 1;
  /// With one input: how many axes they lie along. -1: all from `axis` on; 0: one number for all.
  Dim num_axes = 1;
  Filler filler = Filler::constant(0);
  double lr_mult = 1;
  double decay_mult = 1;

  bool operator==(const BiasOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = BiasOptions;
    visit("axis", &O::axis);
    visit("num_axes", &O::num_axes);
    visit("filler", &O::filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// Adds numbers to the input, the same wherever the axes agree: with one input learned ones, with two the second input,
/// whose axes are those of the first from `axis` on (a scalar fits anywhere). Caffe's Bias. The top has the shape of
/// input 0.
/// Parameter, with one input: "bias", whose shape is `num_axes` axes of the input.
///
///     BiasLayer{"bias", {"conv1"}}               // [N, C, H, W]: C numbers
///     BiasLayer{"sum", {"x", "y"}, {.axis = 0}}  // [N, C, H, W] and [N, C]
struct BiasLayer {
  static constexpr std::string_view type = "BiasLayer";
  std::string name;
  AnyInputs bottom;  // x[, what is added]
  BiasOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const BiasLayer&) const = default;
};

}  // namespace sparknet
