#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct ConcatOptions {
  /// The axis along which the bottoms follow one another; a negative one counts from the end.
  Dim axis = 1;

  bool operator==(const ConcatOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ConcatOptions;
    visit("axis", &O::axis);
  }
};

/// The bottoms one after another along `axis`. Caffe's Concat.
/// [N, A, H, W], [N, B, H, W], ... -> [N, A + B + ..., H, W]: the shapes agree in every other axis.
///
///     ConcatLayer{"both", {"left", "right"}}
struct ConcatLayer {
  static constexpr std::string_view type = "ConcatLayer";
  std::string name;
  AnyInputs bottom;
  ConcatOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ConcatLayer&) const = default;
};

}  // namespace sparknet
