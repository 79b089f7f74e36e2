#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct SliceOptions {
  /// The axis to cut; a negative one counts from the end.
  Dim axis = 1;
  /// Where to cut: the index along `axis` at which each top but the first begins. Empty: into equal parts.
  std::vector<Dim> slice_point = {};

  bool operator==(const SliceOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = SliceOptions;
    visit("axis", &O::axis);
    visit("slice_point", &O::slice_point);
  }
};

/// Cuts its bottom along `axis` into the tops that it is given names for. Caffe's Slice.
/// [N, C, H, W] -> [N, A, H, W], [N, B, H, W], ... with A + B + ... = C.
///
///     with(SliceLayer{"slice", {"pair"}, {.slice_point = {1}}}, {.top = {"left", "right"}})
struct SliceLayer {
  static constexpr std::string_view type = "SliceLayer";
  std::string name;
  Inputs<1> bottom;
  SliceOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // one or more
  std::unique_ptr<Layer> make() const;
  bool operator==(const SliceLayer&) const = default;
};

}  // namespace sparknet
