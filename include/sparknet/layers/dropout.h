#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

struct DropoutOptions {
  /// The probability of each number to be dropped: 0 <= ratio < 1.
  double ratio = 0.5;

  bool operator==(const DropoutOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = DropoutOptions;
    visit("ratio", &O::ratio);
  }
};

/// In the training phase sets each number to 0 with probability `ratio` and multiplies the others by 1 / (1 - ratio);
/// in the test phase does nothing. Caffe's Dropout, where `ratio` is dropout_ratio. The top has the shape of the
/// bottom. What is dropped depends on the net's seed, the layer and the step alone, not on the number of threads.
///
///     DropoutLayer{"drop1", {"relu1"}, {.ratio = 0.4}}
struct DropoutLayer {
  static constexpr std::string_view type = "DropoutLayer";
  std::string name;
  Inputs<1> bottom;
  DropoutOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const DropoutLayer&) const = default;
};

}  // namespace sparknet
