#include "sparknet/layers/bias.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam bias(BiasOptions options = {}) {
  return BiasLayer{"bias", {"x"}, options};
}
LayerParam sum(BiasOptions options = {}) {
  return BiasLayer{"sum", {"x", "y"}, options};
}

}  // namespace

TEST_CASE("BiasLayer: description") {
  check_description<BiasLayer>();
  CHECK(BiasLayer{"bias", {"x"}} == BiasLayer{"bias", {"x"}, {.axis = 1}});
  CHECK(bias() != bias({.num_axes = 2}));
  CHECK(bias().options_text() == "");
  CHECK(
      bias({.axis = -1, .num_axes = 0, .filler = Filler::constant(2), .lr_mult = 2, .decay_mult = 0}).options_text() ==
      "{.axis = -1, .num_axes = 0, .filler = Filler::constant(2), .lr_mult = 2, .decay_mult = 0}");
}

TEST_CASE("BiasLayer: shapes") {
  const Shape image{2, 3, 4, 5};
  CHECK(shape_of(bias(), {image}) == image);
  CHECK(shape_of(sum({.axis = 0}), {image, {2, 3}}) == image);
  const auto param = [&](const BiasOptions& options) {
    const SoloLayer solo(bias(options), {image}, {});
    REQUIRE(solo.setup().params.size() == 1);
    CHECK(solo.setup().params[0].name == "bias");
    CHECK(solo.setup().params[0].filler == options.filler);
    CHECK(solo.setup().params[0].lr_mult == options.lr_mult);
    CHECK(solo.setup().params[0].decay_mult == options.decay_mult);
    return solo.setup().params[0].shape;
  };
  CHECK(param({}) == Shape{3});
  CHECK(param({.num_axes = 3, .lr_mult = 2, .decay_mult = 0}) == Shape{3, 4, 5});
  CHECK(param({.num_axes = -1, .filler = Filler::constant(1)}) == Shape{3, 4, 5});
  CHECK(param({.axis = -2, .num_axes = -1}) == Shape{4, 5});
  CHECK(param({.axis = 0, .num_axes = 2}) == Shape{2, 3});
  CHECK(param({.num_axes = 0}) == Shape());
  CHECK(SoloLayer(sum(), {image, {3}}, {}).setup().params.empty());
}

TEST_CASE("BiasLayer: hand-made cases") {
  const Tensor x = numbers({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions solo{.dtype = dtype};
    const auto expect = [&](const Tensor& actual, std::initializer_list<double> values) {
      check_equal(actual, numbers({2, 2, 2}, values).cast(dtype));
    };
    expect(top_of(bias(), {x}, {numbers({2}, {10, 20})}, solo), {11, 12, 23, 24, 15, 16, 27, 28});
    expect(top_of(bias({.axis = 0}), {x}, {numbers({2}, {10, 20})}, solo), {11, 12, 13, 14, 25, 26, 27, 28});
    expect(top_of(bias({.axis = 2}), {x}, {numbers({2}, {10, 20})}, solo), {11, 22, 13, 24, 15, 26, 17, 28});
    expect(top_of(bias({.num_axes = 0}), {x}, {numbers({}, {10})}, solo), {11, 12, 13, 14, 15, 16, 17, 18});
    expect(top_of(sum(), {x, numbers({2}, {10, 20})}, {}, solo), {11, 12, 23, 24, 15, 16, 27, 28});
    expect(
        top_of(sum({.axis = -2}), {x, numbers({2, 2}, {10, 20, 30, 40})}, {}, solo),
        {11, 22, 33, 44, 15, 26, 37, 48});
    expect(top_of(sum(), {x, numbers({}, {10})}, {}, solo), {11, 12, 13, 14, 15, 16, 17, 18});
  }
}

TEST_CASE("BiasLayer: gradients") {
  for (const Shape& shape : {Shape{2, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{1, 17, 1, 1}})
    for (const Dim num_axes : {-1, 0, 1}) check_gradients_of(bias({.num_axes = num_axes}), {shape});
  check_gradients_of(bias({.axis = 0, .num_axes = 2}), {Shape{2, 3, 4}});
  check_gradients_of(bias({.lr_mult = 0}), {Shape{2, 3, 4}});
  check_gradients_of(bias({.axis = 0}), {Shape{7}});
  check_gradients_of(sum(), {Shape{2, 3, 4}, Shape{3}});
  check_gradients_of(sum({.axis = 0}), {Shape{2, 3, 4}, Shape{2, 3}});
  check_gradients_of(sum({.axis = 0}), {Shape{2, 3, 4}, Shape{2, 3, 4}});
  check_gradients_of(sum({.axis = 9}), {Shape{2, 3}, Shape()});
}

TEST_CASE("BiasLayer: needs neither input nor output again") {
  const SoloLayer solo(bias(), {{2, 3}}, {});
  CHECK(solo.setup().in_place_bottoms == 1);
  CHECK_FALSE(solo.setup().reads_bottoms);
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("BiasLayer: messages") {
  const Shape image{2, 3, 4, 5};
  CHECK(refusal(bias({.axis = 4}), {image}) == "there is no axis 4 in its input of 4 dimensions");
  CHECK(refusal(bias({.num_axes = -2}), {image}) == "option .num_axes must be -1 or more, not -2");
  CHECK(refusal(bias({.num_axes = 4}), {image}) == "option .num_axes is 4, and from axis 1 on its input has 3");
  CHECK(
      refusal(sum(), {image, {2, 3}}) ==
      "input 1 must have the shape of input 0 from axis 1 on: it is [2, 3] and input 0 is [2, 3, 4, 5]");
  CHECK(
      refusal(sum({.axis = 3}), {image, {5, 1}}) ==
      "input 1 must have the shape of input 0 from axis 3 on: it is [5, 1] and input 0 is [2, 3, 4, 5]");
  CHECK(refusal(sum({.axis = -5}), {image, {2}}) == "there is no axis -5 in its input of 4 dimensions");
  CHECK(refusal(BiasLayer{"three", {"a", "b", "c"}}, {image, {3}, {3}}) == "expects one or two inputs, not 3");
}
