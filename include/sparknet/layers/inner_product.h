#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct InnerProductOptions {
  Dim num_output;  // required
  bool bias = true;
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
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
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// A fully connected layer: each output is a learned weighted sum of all numbers of an example, plus a bias. Caffe's
/// InnerProduct, where `bias` is bias_term; Caffe's default filler is constant 0.
/// [N, ...] -> [N, num_output]. Parameters: "weights" [num_output, numbers of an example] and, with `bias`,
/// "bias" [num_output].
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
