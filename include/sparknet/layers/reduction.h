#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

/// What is made of the numbers: their sum, the sum of their absolute values or of their squares, or their mean.
enum class Reduction : std::uint8_t { Sum, ASum, SumSq, Mean };
/// "Reduction::Sum"
std::string to_text(Reduction value);

struct ReductionOptions {
  Reduction operation = Reduction::Sum;
  /// The first of the axes that are reduced, which are all from it to the last; a negative one counts from the end.
  Dim axis = 0;
  /// What the result is multiplied by.
  double coeff = 1;

  bool operator==(const ReductionOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = ReductionOptions;
    visit("operation", &O::operation);
    visit("axis", &O::axis);
    visit("coeff", &O::coeff);
  }
};

/// One number of the numbers in all axes from `axis` on. Caffe's Reduction.
/// [N, C, H, W] -> [] for axis 0, [N] for axis 1, [N, C] for axis 2, and so on.
///
///     ReductionLayer{"energy", {"features"}, {.operation = Reduction::SumSq, .axis = 1, .coeff = 0.5}}
struct ReductionLayer {
  static constexpr std::string_view type = "ReductionLayer";
  std::string name;
  Inputs<1> bottom;
  ReductionOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const ReductionLayer&) const = default;
};

}  // namespace sparknet
