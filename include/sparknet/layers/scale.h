#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ScaleOptions {
  /// The first axis of the input that the numbers lie along; a negative one counts from the end.
  Dim axis = 1;
  /// With one input: how many axes they lie along. -1: all from `axis` on; 0: one number for all.
  Dim num_axes = 1;
  Filler filler = Filler::constant(1);
  /// Adds a learned bias as well, of the shape of the scale.
  bool bias = false;
  Filler bias_filler = Filler::constant(0);
  /// Of the scale, where that is learned, and of the bias.
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const ScaleOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ScaleOptions;
    visit("axis", &O::axis);
    visit("num_axes", &O::num_axes);
    visit("filler", &O::filler);
    visit("bias", &O::bias);
    visit("bias_filler", &O::bias_filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// Multiplies the input by numbers, the same wherever the axes agree: with one input by learned ones, with two by the
/// second input, whose axes are those of the first from `axis` on (a scalar fits anywhere). Caffe's Scale, where `bias`
/// is bias_term. The top has the shape of input 0.
/// Parameters: "scale", with one input, whose shape is `num_axes` axes of the input; and, with `bias`, "bias" of the
/// scale's shape.
///
///     ScaleLayer{"scale", {"norm"}, {.bias = true}}          // [N, C, H, W]: C numbers and C numbers
///     ScaleLayer{"weighted", {"x", "weight"}, {.axis = 0}}  // [N, C, H, W] and [N, C]
struct ScaleLayer {
  static constexpr std::string_view type = "ScaleLayer";
  std::string name;
  AnyInputs bottom;  // x[, what it is multiplied by]
  ScaleOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ScaleLayer&) const = default;
};

}  // namespace sparknet
