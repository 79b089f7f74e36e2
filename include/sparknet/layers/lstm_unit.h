#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// The cells of an LSTM in one step, for nets that build the rest themselves. Caffe's LSTMUnit. From the sums for the
/// gates, one after another i, f, o, g,
///
///     c = cont sigmoid(f) c_prev + sigmoid(i) tanh(g)
///     h = sigmoid(o) tanh(c)
///
/// Bottoms: c_prev [1, N, D], the sums [1, N, 4 D], cont [1, N], which is 0 where a sequence begins and else 1. Tops: c
/// and h [1, N, D], called name_c and name_h unless `with` names them.
///
///     with(LSTMUnitLayer{"unit", {"c0", "gates", "cont"}}, {.top = {"c1", "h1"}})
struct LSTMUnitLayer {
  static constexpr std::string_view type = "LSTMUnitLayer";
  std::string name;
  Inputs<3> bottom;  // c_prev, the sums for the gates, cont
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<std::string> tops() const { return {name + "_c", name + "_h"}; }  // c, h
  std::vector<Shape> infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const LSTMUnitLayer&) const = default;
};

}  // namespace sparknet
