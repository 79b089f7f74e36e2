#include "sparknet/layers/inner_product.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam inner_product(InnerProductOptions options) {
  return InnerProductLayer{"ip", {"x"}, std::move(options)};
}

}  // namespace

TEST_CASE("InnerProductLayer: description") {
  check_description<InnerProductLayer>();
  CHECK(inner_product({.num_output = 10}) == inner_product({.num_output = 10}));
  CHECK(inner_product({.num_output = 10}) != inner_product({.num_output = 10, .bias = false}));
  CHECK(inner_product({.num_output = 500}).options_text() == "{.num_output = 500}");
  CHECK(
      inner_product({.num_output = 10, .bias = false, .weight_filler = Filler::gaussian(0, 0.01), .lr_mult = {1, 2}})
          .options_text() ==
      "{.num_output = 10, .bias = false, .weight_filler = Filler::gaussian(0, 0.01), .lr_mult = {1, 2}}");
}

TEST_CASE("InnerProductLayer: flattens all but the first dimension") {
  CHECK(shape_of(inner_product({.num_output = 500}), {{64, 50, 4, 4}}) == Shape{64, 500});
  CHECK(shape_of(inner_product({.num_output = 7}), {{3, 5}}) == Shape{3, 7});
}

TEST_CASE("InnerProductLayer: parameters") {
  const SoloLayer solo(inner_product({.num_output = 6, .lr_mult = {1, 2}, .decay_mult = {1, 0}}), {{2, 3, 4}}, {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 2);
  CHECK(params[0].name == "weights");
  CHECK(params[0].shape == Shape{6, 12});
  CHECK(params[0].filler == Filler::xavier());
  CHECK(params[1].name == "bias");
  CHECK(params[1].shape == Shape{6});
  CHECK(params[1].filler == Filler::constant(0));
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
}

TEST_CASE("InnerProductLayer: a hand-made case") {
  const Tensor x = numbers({2, 1, 3}, {1, 2, 3, -1, 0, 1}), weights = numbers({2, 3}, {1, 1, 1, 2, 0, -2});
  const Tensor bias = numbers({2}, {0.5, -1});
  check_equal(top_of(inner_product({.num_output = 2}), {x}, {weights, bias}), numbers({2, 2}, {6.5, -5, 0.5, -5}));
  check_equal(top_of(inner_product({.num_output = 2, .bias = false}), {x}, {weights}), numbers({2, 2}, {6, -4, 0, -4}));
  check_equal(
      top_of(inner_product({.num_output = 2}), {x}, {weights, bias}, {.dtype = DType::F32}),
      numbers({2, 2}, {6.5, -5, 0.5, -5}).cast(DType::F32));
}

TEST_CASE("InnerProductLayer: gradients") {
  for (const Shape& shape : {Shape{1, 1}, Shape{4, 3}, Shape{3, 2, 3, 2}, Shape{5, 17}})
    for (const bool bias : {true, false}) check_gradients_of(inner_product({.num_output = 5, .bias = bias}), {shape});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(inner_product({.num_output = 3, .lr_mult = lr_mult}), {Shape{2, 4}});
}

TEST_CASE("InnerProductLayer: takes over a ReLU") {
  for (const double slope : {0.0, 0.25}) {
    check_fused_equals_unfused(
        inner_product({.num_output = 9}),
        noise({7, 2, 5}),
        {noise({9, 10}, 2), noise({9}, 3)},
        slope);
    check_fused_equals_unfused(
        inner_product({.num_output = 9, .bias = false}),
        noise({7, 2, 5}),
        {noise({9, 10}, 2)},
        slope);
    check_gradients_of(inner_product({.num_output = 9}), {Shape{7, 2, 5}}, {.fuse = FusedReLU{slope}});
  }
}

TEST_CASE("InnerProductLayer: messages") {
  CHECK(refusal(inner_product({.num_output = 0}), {{64, 50, 4, 4}}) == "option .num_output is required");
  CHECK(refusal(inner_product({.num_output = -1}), {{2, 2}}) == "option .num_output must be positive, not -1");
  CHECK(
      refusal(inner_product({.num_output = 3}), {{64}}) ==
      "expects a batch [N, ...], which has 2 or more dimensions, not 1");
}
