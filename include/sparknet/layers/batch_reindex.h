#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// The examples of its first bottom at the indices that the second holds. Caffe's BatchReindex.
/// [N, ...] and [M] -> [M, ...]. Indices are whole numbers from 0 to N - 1 in a blob of the net's dtype, in any order
/// and any number of times; any other is a BadInput. They have no gradient.
///
///     BatchReindexLayer{"chosen", {"conv4", "indices"}}
struct BatchReindexLayer {
  static constexpr std::string_view type = "BatchReindexLayer";
  std::string name;
  Inputs<2> bottom;  // examples, indices
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const BatchReindexLayer&) const = default;
};

}  // namespace sparknet
