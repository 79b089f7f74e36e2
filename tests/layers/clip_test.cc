#include "sparknet/layers/clip.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam clip(double min, double max) {
  return ClipLayer{"clip", {"x"}, {.min = min, .max = max}};
}

}  // namespace

TEST_CASE("ClipLayer: description") {
  check_description<ClipLayer>();
  CHECK(clip(0, 6) == clip(0, 6));
  CHECK(clip(0, 6) != clip(0, 1));
  CHECK(clip(-1, 6).options_text() == "{.min = -1, .max = 6}");
  CHECK(shape_of(clip(0, 1), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("ClipLayer: values, and gradients that include the borders") {
  const std::vector<std::pair<double, double>> limits = {{0, 6}, {-1, 2.75}, {0.25, 0.25}, {-kInf, 1}, {0, kInf}};
  for (const auto& [min, max] : limits) {
    const long double low = min, high = max;
    check_map(
        clip(min, max),
        wide_range(),
        [=](long double x) { return std::min(std::max(x, low), high); },
        [=](long double x) { return x >= low && x <= high; });
  }
  check_equal(top_of(clip(-1, 1), {numbers({4}, {-kInf, -1, 0.5, kInf})}), numbers({4}, {-1, -1, 0.5, 1}));
  CHECK(std::isnan(top_of(clip(-1, 1), {numbers({1}, {kNan})}).span<double>()[0]));
  check_map_gradients(clip(-1.5, 1.5), {.kink = 1.5, .kink_range = 0.01});
  CHECK(reads(clip(0, 6)) == "bottom");
}

TEST_CASE("ClipLayer: messages") {
  CHECK(refusal(ClipLayer{"clip", {"x"}}, {{2}}) == "option .min is required");
  CHECK(refusal(ClipLayer{"clip", {"x"}, {.max = 1}}, {{2}}) == "option .min is required");
  CHECK(refusal(ClipLayer{"clip", {"x"}, {.min = 1}}, {{2}}) == "option .max is required");
  CHECK(refusal(clip(6, 0), {{2}}) == "option .min must not be larger than .max: they are 6 and 0");
  CHECK(refusal(clip(0, kNan), {{2}}) == "option .min must not be larger than .max: they are 0 and nan");
  CHECK(refusal(clip(1, 1), {{2}}) == "");
}
