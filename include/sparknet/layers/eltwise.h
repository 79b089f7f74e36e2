#pragma once

#include "sparknet/net_param.h"

namespace sparknet {

enum class Eltwise : std::uint8_t { Sum, Prod, Max };
/// "Eltwise::Sum"
std::string to_text(Eltwise value);

struct EltwiseOptions {
  Eltwise operation = Eltwise::Sum;
  /// For Sum: what each bottom is multiplied by. Empty: 1.
  std::vector<double> coeff = {};

  bool operator==(const EltwiseOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    using O = EltwiseOptions;
    visit("operation", &O::operation);
    visit("coeff", &O::coeff);
  }
};

/// The sum, product or maximum of two or more bottoms, element by element. Caffe's Eltwise. The bottoms and the top
/// have one shape. The gradient of a maximum goes to the first of the largest.
///
///     EltwiseLayer{"sum", {"left", "right"}}
///     EltwiseLayer{"difference", {"left", "right"}, {.coeff = {1, -1}}}
struct EltwiseLayer {
  static constexpr std::string_view type = "EltwiseLayer";
  std::string name;
  AnyInputs bottom;  // two or more
  EltwiseOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const EltwiseLayer&) const = default;
};

}  // namespace sparknet
