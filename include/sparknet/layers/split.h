#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// Its bottom again, once for each top that it is given a name for. Caffe's Split. A net needs none: any number of
/// layers may read a blob.
///
///     with(SplitLayer{"split", {"conv1"}}, {.top = {"left", "right"}})
struct SplitLayer {
  static constexpr std::string_view type = "SplitLayer";
  std::string name;
  Inputs<1> bottom;
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // one or more
  std::unique_ptr<Layer> make() const;
  bool operator==(const SplitLayer&) const = default;
};

}  // namespace sparknet
