#include "sparknet/layers/swish.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam swish(double beta = 1) {
  return SwishLayer{"swish", {"x"}, {.beta = beta}};
}

}  // namespace

TEST_CASE("SwishLayer: description") {
  check_description<SwishLayer>();
  CHECK(SwishLayer{"swish", {"x"}} == SwishLayer{"swish", {"x"}, {.beta = 1}});
  CHECK(swish() != swish(0.5));
  CHECK(swish().options_text() == "");
  CHECK(swish(0.5).options_text() == "{.beta = 0.5}");
  CHECK(shape_of(swish(), {{2, 3, 4}}) == Shape{2, 3, 4});
  CHECK(reads(swish()) == "bottom");
  CHECK(refusal(swish(kInf), {{2}}) == "option .beta must be finite, not inf");
}

TEST_CASE("SwishLayer: values and gradients") {
  for (const double beta : {1.0, 0.5, 3.0, 0.0, -1.0}) {
    const auto sigmoid = [=](long double x) { return 1 / (1 + std::exp(-beta * x)); };
    check_map(
        swish(beta),
        wide_range(),
        [=](long double x) { return x * sigmoid(x); },
        [=](long double x) { return sigmoid(x) + beta * (x * sigmoid(x) * sigmoid(-x)); },
        {.value = 300, .slope = 50});
    check_map_gradients(swish(beta));
  }
}
