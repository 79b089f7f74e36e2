#pragma once

#include "sparknet/layers/recurrent.h"
#include "sparknet/net_param.h"

namespace sparknet {

/// A simple recurrent network over sequences. Caffe's RNN; Caffe's default filler is constant 0. In step t, for each of
/// N sequences side by side,
///
///     h_t = tanh(W_xh x_t + b_h + W_hh (cont_t h_{t-1}) [+ W_xh_static x_static])
///     o_t = tanh(W_ho h_t + b_o)
///
/// Bottoms: x [T, N, ...]; cont [T, N], which is 0 in the first step of a sequence and 1 in the others; and, if wanted,
/// x_static [N, ...], which all steps see. Top: o [T, N, num_output].
///
/// h after the last step is kept, and the next forward pass goes on from there, where cont is not 0 at once; no
/// gradient flows back into the pass before. A snapshot does not hold it, as Caffe's does not: a run goes on bit for
/// bit only where its sequences begin with a pass. With `expose_hidden` nothing is kept: one more bottom h_0, and one
/// more top h_T, called name_h unless `with` names it, are the state, each [1, N, num_output]. They have gradients,
/// which Caffe does not compute.
///
/// Parameters: "W_xh" [num_output, numbers of x_t], "b_h" [num_output], with a static input "W_xh_static" [num_output,
/// numbers of x_static], "W_hh" [num_output, num_output], "W_ho" [num_output, num_output] and "b_o" [num_output].
///
///     RNNLayer{"rnn", {"embedding", "cont"}, {.num_output = 256}}
struct RNNLayer {
  static constexpr std::string_view type = "RNNLayer";
  std::string name;
  AnyInputs bottom;  // x, cont[, x_static][, h_0]
  RecurrentOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<std::string> tops() const;  // o[, h_T]
  std::vector<Shape> infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const RNNLayer&) const = default;
};

}  // namespace sparknet
