#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// A named, shaped input, bound by name to a column of a data source (SparkNet's RDDLayer) or set by the program.
/// The first dimension is the batch. The blob has the net's dtype.
///
///     RDDLayer{"data", {64, 1, 28, 28}}
///     RDDLayer{"data", {100, 1, 28, 28}, Include::Test}
struct RDDLayer {
  static constexpr std::string_view type = "RDDLayer";
  std::string name;
  Shape shape;  // required
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const { return nullptr; }
  bool operator==(const RDDLayer&) const = default;
};

}  // namespace sparknet
