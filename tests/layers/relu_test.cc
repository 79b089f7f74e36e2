#include "sparknet/layers/relu.h"

#include <limits>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam relu(double negative_slope = 0) {
  return ReLULayer{"relu", {"x"}, {.negative_slope = negative_slope}};
}

}  // namespace

TEST_CASE("ReLULayer: description") {
  check_description<ReLULayer>();
  CHECK(ReLULayer{"relu", {"x"}} == ReLULayer{"relu", {"x"}, {.negative_slope = 0}});
  CHECK(relu(0) != relu(0.1));
  CHECK(relu(0).options_text() == "");
  CHECK(relu(0.1).options_text() == "{.negative_slope = 0.1}");
  CHECK(shape_of(relu(), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("ReLULayer: a hand-made case") {
  const Tensor x = numbers({5}, {-2, -0.5, 0, 0.5, 2});
  check_equal(top_of(relu(), {x}), numbers({5}, {0, 0, 0, 0.5, 2}));
  check_equal(top_of(relu(0.5), {x}), numbers({5}, {-1, -0.25, 0, 0.5, 2}));
  check_equal(top_of(relu(-1), {x}), numbers({5}, {2, 0.5, 0, 0.5, 2}));
}

TEST_CASE("ReLULayer: gradients, in place too where the top tells the sign") {
  for (const double slope : {0.0, 0.1, 1.0, 2.0, -1.0})
    for (const Shape& shape : {Shape{1}, Shape{2, 3, 4, 5}, Shape{3, 67}})
      check_gradients_of(relu(slope), {shape}, {.kink_range = 0.01});
}

TEST_CASE("ReLULayer: says what it can") {
  for (const double slope : {0.0, 0.25}) {
    const auto as_relu = relu(slope).make()->as_relu();
    REQUIRE(as_relu);
    CHECK(as_relu->negative_slope == slope);
    const SoloLayer solo(relu(slope), {{2, 3}}, {});
    CHECK(solo.setup().in_place_bottoms == 1);
    CHECK_FALSE(solo.setup().reads_bottoms);
  }
  CHECK_FALSE(relu(-0.25).make()->as_relu());
  const SoloLayer solo(relu(-0.25), {{2, 3}}, {});
  CHECK(solo.setup().in_place_bottoms == 0);
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("ReLULayer: messages") {
  CHECK(
      refusal(relu(std::numeric_limits<double>::infinity()), {{2}}) ==
      "option .negative_slope must be finite, not inf");
}
