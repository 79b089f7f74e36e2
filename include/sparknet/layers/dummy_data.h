#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct DummyDataOptions {
  /// One for all tops, or one for each; none: all are 0.
  std::vector<Filler> data_filler = {};
  /// One for all tops, or one for each.
  std::vector<Shape> shape = {};  // required

  bool operator==(const DummyDataOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = DummyDataOptions;
    visit("data_filler", &O::data_filler);
    visit("shape", &O::shape);
  }
};

/// Blobs that are filled at random, anew in each forward pass, or with a constant. Caffe's DummyData; its num,
/// channels, height and width are a `shape` here. The numbers follow from the net's seed and the number of the pass.
///
///     DummyDataLayer{"noise", {.data_filler = {Filler::gaussian(0, 1)}, .shape = {{64, 100}}}}
///     with(DummyDataLayer{"fake", {.data_filler = {Filler::uniform(0, 1), Filler::constant(1)},
///                                  .shape = {{64, 1, 28, 28}, {64}}}},
///          {.top = {"data", "label"}})
struct DummyDataLayer {
  static constexpr std::string_view type = "DummyDataLayer";
  std::string name;
  DummyDataOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape> in, std::size_t tops) const;  // one or more
  std::unique_ptr<Layer> make() const;
  bool operator==(const DummyDataLayer&) const = default;
};

}  // namespace sparknet
