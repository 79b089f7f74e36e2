#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct EmbedOptions {
  Dim num_output;  // required
  /// How many things there are: indices are whole numbers from 0 to input_dim - 1.
  Dim input_dim = 0;  // required
  bool bias = true;
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const EmbedOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = EmbedOptions;
    visit("num_output", &O::num_output);
    visit("input_dim", &O::input_dim);
    visit("bias", &O::bias);
    visit("weight_filler", &O::weight_filler);
    visit("bias_filler", &O::bias_filler);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

/// For each index its learned row of numbers, plus a bias: an inner product with one-hot vectors, without these.
/// Caffe's Embed, where `bias` is bias_term; Caffe's default filler is constant 0.
/// [N, ...] -> [N, ..., num_output]. An index that is no whole number in [0, input_dim) is a BadInput.
/// Parameters: "weights" [input_dim, num_output] and, with `bias`, "bias" [num_output].
///
///     EmbedLayer{"embedding", {"words"}, {.num_output = 100, .input_dim = 10000, .bias = false}}
struct EmbedLayer {
  static constexpr std::string_view type = "EmbedLayer";
  std::string name;
  Inputs<1> bottom;
  EmbedOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const EmbedLayer&) const = default;
};

}  // namespace sparknet
