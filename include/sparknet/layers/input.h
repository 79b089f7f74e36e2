#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct InputOptions {
  /// One for all tops, or one for each.
  std::vector<Shape> shape = {};  // required

  bool operator==(const InputOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = InputOptions;
    visit("shape", &O::shape);
  }
};

/// Blobs that the program sets, or that are bound by name to columns of a data source. Caffe's Input. The first
/// dimension is the batch; the blobs have the net's dtype.
///
///     InputLayer{"data", {.shape = {{64, 1, 28, 28}}}}
///     with(InputLayer{"pair", {.shape = {{64, 10}, {64}}}}, {.top = {"features", "label"}})
struct InputLayer {
  static constexpr std::string_view type = "InputLayer";
  std::string name;
  InputOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // one or more
  std::unique_ptr<Layer> make() const { return nullptr; }
  bool operator==(const InputLayer&) const = default;
};

}  // namespace sparknet
