#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// A blob in another type or order: what a net that has blobs in BF16 or NHWC puts between layers of both kinds.
struct CastLayer {
  static constexpr std::string_view type = "CastLayer";
  std::string name;
  Inputs<1> bottom;
  /// Whether the bottom and the top, which have four axes then, lie in memory as [N, H, W, C].
  bool from_nhwc = false, to_nhwc = false;
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const { return in[0]; }
  std::unique_ptr<Layer> make() const;
  bool operator==(const CastLayer&) const = default;
};

}  // namespace sparknet
