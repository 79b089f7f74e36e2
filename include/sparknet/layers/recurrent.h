#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Of RNNLayer and LSTMLayer. Caffe's RecurrentParameter.
struct RecurrentOptions {
  Dim num_output;  // required
  Filler weight_filler = Filler::xavier();
  Filler bias_filler = Filler::constant(0);
  /// The state before the first step and the state after the last are blobs, instead of being kept from one forward
  /// pass to the next.
  bool expose_hidden = false;
  /// Of all weights and of all biases.
  Multipliers lr_mult = {};
  Multipliers decay_mult = {};

  bool operator==(const RecurrentOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = RecurrentOptions;
    visit("num_output", &O::num_output);
    visit("weight_filler", &O::weight_filler);
    visit("bias_filler", &O::bias_filler);
    visit("expose_hidden", &O::expose_hidden);
    visit("lr_mult", &O::lr_mult);
    visit("decay_mult", &O::decay_mult);
  }
};

}  // namespace sparknet
