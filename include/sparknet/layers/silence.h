#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Reads its bottoms and does nothing, so that they are no outputs of the net. Caffe's Silence. It has no top, and the
/// gradient of its bottoms is 0.
///
///     SilenceLayer{"silence", {"unused"}}
struct SilenceLayer {
  static constexpr std::string_view type = "SilenceLayer";
  std::string name;
  AnyInputs bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<std::string> tops() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SilenceLayer&) const = default;
};

}  // namespace sparknet
