#include "sparknet/layers/inner_product.h"

#include <algorithm>
#include <cmath>

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
  CHECK(
      inner_product({.num_output = 10, .axis = 2, .transpose = true}).options_text() ==
      "{.num_output = 10, .axis = 2, .transpose = true}");
}

TEST_CASE("InnerProductLayer: flattens all but the first dimension") {
  CHECK(shape_of(inner_product({.num_output = 500}), {{64, 50, 4, 4}}) == Shape{64, 500});
  CHECK(shape_of(inner_product({.num_output = 7}), {{3, 5}}) == Shape{3, 7});
}

TEST_CASE("InnerProductLayer: axis") {
  CHECK(shape_of(inner_product({.num_output = 7, .axis = 0}), {{3, 5}}) == Shape{7});
  CHECK(shape_of(inner_product({.num_output = 7, .axis = 2}), {{4, 3, 5, 6}}) == Shape{4, 3, 7});
  CHECK(shape_of(inner_product({.num_output = 7, .axis = -1}), {{4, 3, 5, 6}}) == Shape{4, 3, 5, 7});
  const Tensor x = numbers({2, 1, 3}, {1, 2, 3, -1, 0, 1}), bias = numbers({2}, {0.5, -1});
  const Tensor weights = numbers({2, 3}, {1, 1, 1, 2, 0, -2});
  check_equal(
      top_of(inner_product({.num_output = 2, .axis = 2}), {x}, {weights, bias}),
      numbers({2, 1, 2}, {6.5, -5, 0.5, -5}));
  check_equal(
      top_of(inner_product({.num_output = 1, .bias = false, .axis = 0}), {x}, {numbers({1, 6}, {1, 2, 3, 4, 5, 6})}),
      numbers({1}, {16}));
}

TEST_CASE("InnerProductLayer: transposed weights") {
  const SoloLayer solo(inner_product({.num_output = 6, .transpose = true}), {{2, 3, 4}}, {});
  CHECK(solo.setup().params[0].shape == Shape{12, 6});
  const Tensor x = numbers({2, 1, 3}, {1, 2, 3, -1, 0, 1}), bias = numbers({2}, {0.5, -1});
  const Tensor weights = numbers({3, 2}, {1, 2, 1, 0, 1, -2});
  for (const DType dtype : {DType::F32, DType::F64}) {
    check_equal(
        top_of(inner_product({.num_output = 2, .transpose = true}), {x}, {weights, bias}, {.dtype = dtype}),
        numbers({2, 2}, {6.5, -5, 0.5, -5}).cast(dtype));
    check_equal(
        top_of(inner_product({.num_output = 2, .bias = false, .transpose = true}), {x}, {weights}, {.dtype = dtype}),
        numbers({2, 2}, {6, -4, 0, -4}).cast(dtype));
  }
}

TEST_CASE("InnerProductLayer: transposed weights compute what others do") {
  constexpr Dim batch = 130, inputs = 203, outputs = 97;
  const Tensor x = noise({batch, inputs}), weights = noise({outputs, inputs}, 2), bias = noise({outputs}, 3);
  Tensor turned({inputs, outputs}, DType::F64);
  for (Dim o = 0; o < outputs; ++o)
    for (Dim i = 0; i < inputs; ++i) turned.set<double>(weights.get<double>(o, i), i, o);
  const auto run = [&](bool transpose, int threads) {
    SoloLayer solo =
        ran(inner_product({.num_output = outputs, .transpose = transpose}),
            {x},
            {transpose ? turned : weights, bias},
            {.threads = threads});
    solo.io().top_diff().copy_from(noise({batch, outputs}, 4));
    solo.backward();
    return solo;
  };
  SoloLayer plain = run(false, 1);
  for (const int threads : {1, 3}) {
    SoloLayer other = run(true, threads);
    check_equal(other.io().top(), plain.io().top(), 1e-10);
    check_equal(other.io().bottom_diff(), plain.io().bottom_diff(), 1e-10);
    check_equal(other.io().param_diff(1), plain.io().param_diff(1), 1e-10);
    double worst = 0;
    for (Dim o = 0; o < outputs; ++o)
      for (Dim i = 0; i < inputs; ++i)
        worst = std::max(
            worst,
            std::abs(other.io().param_diff(0).get<double>(i, o) - plain.io().param_diff(0).get<double>(o, i)));
    CHECK(worst < 1e-10);
  }
}

TEST_CASE("InnerProductLayer: gradients with axis and transpose") {
  for (const bool transpose : {true, false})
    for (const Dim axis : {0, 1, 2, -1})
      for (const bool bias : {true, false})
        check_gradients_of(
            inner_product({.num_output = 5, .bias = bias, .axis = axis, .transpose = transpose}),
            {Shape{3, 2, 4}});
  check_gradients_of(inner_product({.num_output = 3, .transpose = true}), {Shape{17, 9}}, {.threads = 2});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(inner_product({.num_output = 3, .transpose = true, .lr_mult = lr_mult}), {Shape{2, 4}});
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
    check_fused_equals_unfused(
        inner_product({.num_output = 9, .transpose = true}),
        noise({7, 2, 5}),
        {noise({10, 9}, 2), noise({9}, 3)},
        slope);
    check_fused_equals_unfused(
        inner_product({.num_output = 9, .bias = false, .axis = 2, .transpose = true}),
        noise({7, 2, 5}),
        {noise({5, 9}, 2)},
        slope);
    check_gradients_of(
        inner_product({.num_output = 9, .transpose = true}),
        {Shape{7, 2, 5}},
        {.fuse = FusedReLU{slope}});
  }
}

TEST_CASE("InnerProductLayer: messages") {
  CHECK(refusal(inner_product({.num_output = 0}), {{64, 50, 4, 4}}) == "option .num_output is required");
  CHECK(refusal(inner_product({.num_output = -1}), {{2, 2}}) == "option .num_output must be positive, not -1");
  CHECK(
      refusal(inner_product({.num_output = 3}), {{64}}) ==
      "expects a batch [N, ...], which has 2 or more dimensions, not 1");
  CHECK(
      refusal(inner_product({.num_output = 3, .axis = 2}), {{64, 5}}) ==
      "there is no axis 2 in its input of 2 dimensions");
}
