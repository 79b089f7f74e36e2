#pragma once

#include "sparknet/layers/recurrent.h"
#include "sparknet/net_param.h"

namespace sparknet {

/// Long short-term memory over sequences (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).
/// Caffe's LSTM; Caffe's default filler is constant 0. In step t, for each of N sequences side by side,
///
///     i, f, o, g = W_xc x_t + b_c + W_hc (cont_t h_{t-1}) [+ W_xc_static x_static]
///     c_t = cont_t sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)
///     h_t = sigmoid(o) tanh(c_t)
///
/// Bottoms: x [T, N, ...]; cont [T, N], which is 0 in the first step of a sequence and 1 in the others; and, if wanted,
/// x_static [N, ...], which all steps see. Top: h [T, N, num_output].
///
/// h and c after the last step are kept, and the next forward pass goes on from there, where cont is not 0 at once; no
/// gradient flows back into the pass before. A snapshot does not hold them, as Caffe's does not: a run goes on bit for
/// bit only where its sequences begin with a pass. With `expose_hidden` nothing is kept: two more bottoms h_0 and c_0,
/// and two more tops h_T and c_T, called name_h and name_c unless `with` names them, are the states, each [1, N,
/// num_output]. They have gradients, which Caffe does not compute.
///
/// Parameters: "W_xc" [4 num_output, numbers of x_t], "b_c" [4 num_output], with a static input "W_xc_static"
/// [4 num_output, numbers of x_static], and "W_hc" [4 num_output, num_output].
///
///     LSTMLayer{"lstm", {"embedding", "cont"}, {.num_output = 256, .weight_filler = Filler::uniform(-0.08, 0.08)}}
struct LSTMLayer {
  static constexpr std::string_view type = "LSTMLayer";
  std::string name;
  AnyInputs bottom;  // x, cont[, x_static][, h_0, c_0]
  RecurrentOptions options;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<std::string> tops() const;  // h[, h_T, c_T]
  std::vector<Shape> infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const LSTMLayer&) const = default;
};

}  // namespace sparknet
