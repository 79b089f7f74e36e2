#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct InnerProductOptions {
  Dim num_output;  // required
  bool bias = true;
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
  /// The first of the axes that are summed over, which are all from it to the last; a negative one counts from the end.
  Dim axis = 1;
  /// Keep the weights as [numbers that are summed, num_output].
  bool transpose = false;
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const InnerProductOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = InnerProductOptions;
    visit("num_output", &O::num_output);
    visit("bias", &O::bias);
    visit("weight_filler", &O::weight_filler);
    visit("bias_filler", &O::bias_filler);
    visit("axis", &O::axis);
    visit("transpose", &O::transpose);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// A fully connected layer: each output is a learned weighted sum of all numbers of an example, plus a bias. Caffe's
/// InnerProduct, where `bias` is bias_term; Caffe's default filler is constant 0.
/// [N, ...] -> [N, num_output]; with axis 2 [T, N, ...] -> [T, N, num_output], and so on.
/// Parameters: "weights" [num_output, numbers that are summed], or the other way round with `transpose`, and, with
/// `bias`, "bias" [num_output].
///
///     InnerProductLayer{"ip1", {"pool2"}, {.num_output = 500}}
struct InnerProductLayer {
  static constexpr std::string_view type = "InnerProductLayer";
  std::string name;
  Inputs<1> bottom;
  InnerProductOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const InnerProductLayer&) const = default;
};

}  // namespace sparknet
