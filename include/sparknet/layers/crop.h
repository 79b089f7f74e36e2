#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct CropOptions {
  /// The first axis that is cropped, as are all behind it; a negative one counts from the end.
  Dim axis = 2;
  /// Where the top begins in the bottom: a number for each axis that is cropped, or one for all. Empty: at 0.
  std::vector<Dim> offset = {};

  bool operator==(const CropOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = CropOptions;
    visit("axis", &O::axis);
    visit("offset", &O::offset);
  }
};

/// The part of its first bottom that has the size of the second from `axis` on. Caffe's Crop. Of the second bottom only
/// the shape matters; it has no gradient.
/// [N, C, H, W] and [any, any, h, w] -> [N, C, h, w], with `h <= H`, `w <= W`.
///
///     CropLayer{"score", {"upscore", "data"}, {.offset = {19}}}
struct CropLayer {
  static constexpr std::string_view type = "CropLayer";
  std::string name;
  Inputs<2> bottom;  // what is cropped, what has the size
  CropOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const CropLayer&) const = default;
};

}  // namespace sparknet
