#include "sparknet/layers/exp.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam exponential(const ExpOptions& options) {
  return ExpLayer{"exp", {"x"}, options};
}

}  // namespace

TEST_CASE("ExpLayer: description") {
  check_description<ExpLayer>();
  CHECK(ExpLayer{"exp", {"x"}} == ExpLayer{"exp", {"x"}, {.base = -1, .scale = 1, .shift = 0}});
  CHECK(exponential({}) != exponential({.base = 2}));
  CHECK(exponential({}).options_text() == "");
  CHECK(exponential({.base = 2, .shift = 1}).options_text() == "{.base = 2, .shift = 1}");
  CHECK(shape_of(exponential({}), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("ExpLayer: values and gradients") {
  check_equal(top_of(exponential({}), {numbers({4}, {0, 1, -kInf, kInf})}), numbers({4}, {1, std::exp(1.0), 0, kInf}));
  check_equal(top_of(exponential({.base = 2, .shift = 1}), {numbers({3}, {0, 3, -2})}), numbers({3}, {2, 16, 0.5}));
  check_equal(top_of(exponential({.base = 1}), {numbers({2}, {5, -1e30})}), numbers({2}, {1, 1}));
  const std::vector<ExpOptions> all = {
      {},
      {.scale = -0.5},
      {.shift = 1.5},
      {.base = 2},
      {.base = 0.5, .scale = 2, .shift = -1},
      {.base = 1},
      {.scale = 0, .shift = 1}};
  for (const ExpOptions& options : all) {
    const long double log_base = options.base == -1 ? 1 : std::log(static_cast<long double>(options.base));
    const long double scale = options.scale, shift = options.shift;
    check_map(
        exponential(options),
        wide_range(),
        [=](long double x) { return std::exp(log_base * (shift + scale * x)); },
        [=](long double x) {
          return scale == 0 || log_base == 0 ? 0 : log_base * scale * std::exp(log_base * (shift + scale * x));
        },
        // The exponent is rounded, which counts as often as it is large.
        {.value = 400, .slope = 400});
    check_map_gradients(exponential(options));
    CHECK(reads(exponential(options)) == "top");
  }
}

TEST_CASE("ExpLayer: messages") {
  const auto message = [](const ExpOptions& options) { return refusal(exponential(options), {{2}}); };
  CHECK(message({.base = 0}) == "option .base must be positive and finite, or -1 for e, not 0");
  CHECK(message({.base = -2}) == "option .base must be positive and finite, or -1 for e, not -2");
  CHECK(message({.base = kInf}) == "option .base must be positive and finite, or -1 for e, not inf");
  CHECK(message({.base = kNan}) == "option .base must be positive and finite, or -1 for e, not nan");
  CHECK(message({.scale = kNan}) == "option .scale must be finite, not nan");
  CHECK(message({.shift = -kInf}) == "option .shift must be finite, not -inf");
}
