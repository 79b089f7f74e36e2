#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ArgMaxOptions {
  /// Yield the largest numbers: with `axis` instead of where they are, without it beside that.
  bool out_max_val = false;
  /// How many of the largest numbers.
  Dim top_k = 1;
  /// The axis to look along; a negative one counts from the end. Without it all numbers of an example are looked at.
  std::optional<Dim> axis = {};

  bool operator==(const ArgMaxOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ArgMaxOptions;
    visit("out_max_val", &O::out_max_val);
    visit("top_k", &O::top_k);
    visit("axis", &O::axis);
  }
};

/// Where the `top_k` largest numbers are, the largest first; of equal ones the last comes first, and NaN counts as the
/// largest. No gradient. Caffe's ArgMax, with its shapes:
/// [N, ...] -> [N, 1, top_k], or [N, 2, top_k] with `out_max_val`: the places, counted over the whole example, and the
/// numbers. As in Caffe axes of one element follow where the bottom has more than three. With `axis` the top has the
/// shape of the bottom, but top_k along that axis, and holds the places along it or, with `out_max_val`, the numbers.
///
///     ArgMaxLayer{"best", {"scores"}, {.top_k = 5}}
struct ArgMaxLayer {
  static constexpr std::string_view type = "ArgMaxLayer";
  std::string name;
  Inputs<1> bottom;
  ArgMaxOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ArgMaxLayer&) const = default;
};

}  // namespace sparknet
