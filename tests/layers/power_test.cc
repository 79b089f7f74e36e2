#include "sparknet/layers/power.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam power(const PowerOptions& options) {
  return PowerLayer{"power", {"x"}, options};
}

Tensor gradient_of(const PowerOptions& options, const Tensor& x) {
  SoloLayer solo = ran(power(options), {x});
  solo.io().top_diff().fill(1);
  solo.backward();
  return solo.io().bottom_diff();
}

}  // namespace

TEST_CASE("PowerLayer: description") {
  check_description<PowerLayer>();
  CHECK(PowerLayer{"power", {"x"}} == PowerLayer{"power", {"x"}, {.power = 1, .scale = 1, .shift = 0}});
  CHECK(power({}) != power({.power = 2}));
  CHECK(power({}).options_text() == "");
  CHECK(power({.power = 2, .scale = 0.5, .shift = -1}).options_text() == "{.power = 2, .scale = 0.5, .shift = -1}");
  CHECK(shape_of(power({}), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("PowerLayer: values and gradients") {
  const std::vector<PowerOptions> all = {
      {},
      {.scale = -2, .shift = 0.5},
      {.power = 2},
      {.power = 2, .scale = 0.5, .shift = -1},
      {.power = 3, .scale = 2, .shift = 1},
      {.power = 0},
      {.power = 0, .scale = 2, .shift = 3},
      {.power = 3, .scale = 0, .shift = 2},
      {.power = 0.5, .scale = 0.5, .shift = 20},
      {.power = -1.5, .scale = 1, .shift = 25},
      {.power = -2, .scale = -1, .shift = 30}};
  for (const PowerOptions& options : all) {
    const long double p = options.power, scale = options.scale, shift = options.shift;
    check_map(
        power(options),
        {0, 1e-30, 1e-5, 0.25, 2.75, 10, -10, -1e-5, 100},
        [=](long double x) { return std::pow(shift + scale * x, p); },
        [=](long double x) { return p == 0 ? 0 : p * scale * std::pow(shift + scale * x, p - 1); },
        {.value = 8, .slope = 8});
    check_map_gradients(power(options));
    CHECK(reads(power(options)) == (options.power == 1 || options.power * options.scale == 0 ? "nothing" : "bottom"));
  }
  for (const double p : {0.5, -1.0, 2.5})
    check_gradients_of(power({.power = p}), {Shape{3, 67}}, {.values = Filler::uniform(0.5, 3)});
}

TEST_CASE("PowerLayer: of 0, and constants whatever the input") {
  const Tensor x = numbers({4}, {0, -1, kInf, kNan}), zero = numbers({1}, {0});
  check_equal(top_of(power({.power = 0}), {x}), numbers({4}, {1, 1, 1, 1}));
  check_equal(gradient_of({.power = 0}, x), numbers({4}, {0, 0, 0, 0}));
  check_equal(top_of(power({.power = 2, .scale = 0, .shift = -3}), {x}), numbers({4}, {9, 9, 9, 9}));
  check_equal(gradient_of({.power = 2, .scale = 0, .shift = -3}, x), numbers({4}, {0, 0, 0, 0}));
  check_equal(top_of(power({.power = 0, .scale = 0}), {zero}), numbers({1}, {1}));  // 0^0
  check_equal(gradient_of({.power = 2}, zero), zero);
  check_equal(gradient_of({.power = 3}, zero), zero);
  check_equal(gradient_of({.power = 1}, zero), numbers({1}, {1}));
  check_equal(gradient_of({.power = 0.5}, zero), numbers({1}, {kInf}));
  check_equal(top_of(power({.power = -1}), {zero}), numbers({1}, {kInf}));
  CHECK(std::isnan(top_of(power({.power = 0.5}), {numbers({1}, {-1})}).span<double>()[0]));
}

TEST_CASE("PowerLayer: messages") {
  const auto message = [](const PowerOptions& options) { return refusal(power(options), {{2}}); };
  CHECK(message({.power = kNan}) == "option .power must be finite, not nan");
  CHECK(message({.scale = kInf}) == "option .scale must be finite, not inf");
  CHECK(message({.shift = kNan}) == "option .shift must be finite, not nan");
  CHECK(message({.power = -1, .scale = 0}) == "option .scale is 0, which makes every element 0^-1 = inf");
}
