#include "sparknet/layers/log.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam logarithm(const LogOptions& options) {
  return LogLayer{"log", {"x"}, options};
}

}  // namespace

TEST_CASE("LogLayer: description") {
  check_description<LogLayer>();
  CHECK(LogLayer{"log", {"x"}} == LogLayer{"log", {"x"}, {.base = -1, .scale = 1, .shift = 0}});
  CHECK(logarithm({}) != logarithm({.base = 2}));
  CHECK(logarithm({}).options_text() == "");
  CHECK(logarithm({.base = 10, .scale = 2}).options_text() == "{.base = 10, .scale = 2}");
  CHECK(shape_of(logarithm({}), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("LogLayer: values and gradients") {
  check_equal(top_of(logarithm({}), {numbers({3}, {1, std::exp(2.0), kInf})}), numbers({3}, {0, 2, kInf}));
  check_equal(top_of(logarithm({.base = 2, .shift = 1}), {numbers({3}, {0, 3, -0.5})}), numbers({3}, {0, 2, -1}));
  check_equal(top_of(logarithm({}), {numbers({1}, {0})}), numbers({1}, {-kInf}));
  CHECK(std::isnan(top_of(logarithm({}), {numbers({1}, {-1})}).span<double>()[0]));
  const std::vector<LogOptions> all =
      {{}, {.scale = 0.5}, {.shift = 20}, {.base = 2}, {.base = 0.1, .scale = 0.25, .shift = 25}};
  for (const LogOptions& options : all) {
    const long double log_base = options.base == -1 ? 1 : std::log(static_cast<long double>(options.base));
    const long double scale = options.scale, shift = options.shift;
    check_map(
        logarithm(options),
        positive(wide_range()),
        [=](long double x) { return std::log(shift + scale * x) / log_base; },
        [=](long double x) { return scale / (shift + scale * x) / log_base; });
    CHECK(reads(logarithm(options)) == "bottom");
    if (options.shift > 0)
      check_map_gradients(logarithm(options));
    else
      check_gradients_of(logarithm(options), {Shape{3, 67}}, {.values = Filler::uniform(0.5, 4)});
  }
}

TEST_CASE("LogLayer: messages") {
  const auto message = [](const LogOptions& options) { return refusal(logarithm(options), {{2}}); };
  CHECK(message({.base = 0}) == "option .base must be positive and finite, or -1 for e, not 0");
  CHECK(message({.base = kNan}) == "option .base must be positive and finite, or -1 for e, not nan");
  CHECK(message({.base = 1}) == "option .base must not be 1: there is no logarithm to that base");
  CHECK(message({.scale = kInf}) == "option .scale must be finite, not inf");
  CHECK(message({.shift = kNan}) == "option .shift must be finite, not nan");
}
