#include "sparknet/layers/gelu.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam gelu(bool tanh_approximation = false) {
  return GELULayer{"gelu", {"x"}, {.tanh_approximation = tanh_approximation}};
}

const long double pi = 3.14159265358979323846264L;

}  // namespace

TEST_CASE("GELULayer: description") {
  check_description<GELULayer>();
  CHECK(GELULayer{"gelu", {"x"}} == GELULayer{"gelu", {"x"}, {.tanh_approximation = false}});
  CHECK(gelu() != gelu(true));
  CHECK(gelu().options_text() == "");
  CHECK(gelu(true).options_text() == "{.tanh_approximation = true}");
  CHECK(shape_of(gelu(), {{2, 3, 4}}) == Shape{2, 3, 4});
  CHECK(reads(gelu()) == "bottom");
  CHECK(reads(gelu(true)) == "bottom");
}

TEST_CASE("GELULayer: values and gradients") {
  check_map(
      gelu(),
      wide_range(),
      [](long double x) { return x * std::erfc(-x / std::sqrt(2.0L)) / 2; },
      [](long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * pi); },
      {.value = 300, .slope = 8});
  check_map_gradients(gelu());
}

TEST_CASE("GELULayer: the approximation") {
  const auto argument = [](long double x) { return std::sqrt(2 / pi) * (x + 0.044715L * x * x * x); };
  const auto gate = [=](long double x) { return 1 / (1 + std::exp(-2 * argument(x))); };
  check_map(
      gelu(true),
      wide_range(),
      [=](long double x) { return x * gate(x); },
      [=](long double x) {
        const long double slope = 2 * std::sqrt(2 / pi) * (1 + 3 * 0.044715L * x * x);
        return gate(x) + x * gate(x) * gate(-x) * slope;
      },
      {.value = 300, .slope = 8});
  check_map_gradients(gelu(true));
  // It is near to what it approximates.
  const Tensor x = noise({3, 67});
  check_equal(top_of(gelu(true), {x}), top_of(gelu(), {x}), 1e-3);
}
