#include "sparknet/layers/scale.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam scale(ScaleOptions options = {}) {
  return ScaleLayer{"scale", {"x"}, options};
}
LayerParam product(ScaleOptions options = {}) {
  return ScaleLayer{"product", {"x", "y"}, options};
}

}  // namespace

TEST_CASE("ScaleLayer: description") {
  check_description<ScaleLayer>();
  CHECK(ScaleLayer{"scale", {"x"}} == ScaleLayer{"scale", {"x"}, {.axis = 1}});
  CHECK(scale() != scale({.bias = true}));
  CHECK(scale().options_text() == "");
  CHECK(
      scale({.axis = 2,
             .num_axes = -1,
             .filler = Filler::constant(2),
             .bias = true,
             .bias_filler = Filler::constant(3),
             .lr_mult = {1, 2},
             .decay_mult = {0, 0}})
          .options_text() ==
      "{.axis = 2, .num_axes = -1, .filler = Filler::constant(2), .bias = true, .bias_filler = Filler::constant(3), "
      ".lr_mult = {1, 2}, .decay_mult = {0, 0}}");
}

TEST_CASE("ScaleLayer: shapes and parameters") {
  const Shape image{2, 3, 4, 5};
  CHECK(shape_of(scale(), {image}) == image);
  CHECK(shape_of(product({.axis = 0}), {image, {2, 3}}) == image);
  const SoloLayer both(scale({.num_axes = 2, .bias = true, .lr_mult = {1, 2}, .decay_mult = {1, 0}}), {image}, {});
  REQUIRE(both.setup().params.size() == 2);
  CHECK(both.setup().params[0].name == "scale");
  CHECK(both.setup().params[0].shape == Shape{3, 4});
  CHECK(both.setup().params[0].filler == Filler::constant(1));
  CHECK(both.setup().params[1].name == "bias");
  CHECK(both.setup().params[1].shape == Shape{3, 4});
  CHECK(both.setup().params[1].filler == Filler::constant(0));
  CHECK(both.setup().params[1].lr_mult == 2);
  CHECK(both.setup().params[1].decay_mult == 0);
  CHECK(SoloLayer(scale({.num_axes = 0}), {image}, {}).setup().params.at(0).shape == Shape());
  // The bias has the shape of the second input, whatever num_axes says.
  const SoloLayer biased(product({.axis = 0, .num_axes = -1, .bias = true}), {image, {2, 3}}, {});
  REQUIRE(biased.setup().params.size() == 1);
  CHECK(biased.setup().params[0].name == "bias");
  CHECK(biased.setup().params[0].shape == Shape{2, 3});
}

TEST_CASE("ScaleLayer: hand-made cases") {
  const Tensor x = numbers({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}), two = numbers({2}, {2, -1});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions solo{.dtype = dtype};
    const auto expect = [&](const Tensor& actual, std::initializer_list<double> values) {
      check_equal(actual, numbers({2, 2, 2}, values).cast(dtype));
    };
    expect(top_of(scale(), {x}, {two}, solo), {2, 4, -3, -4, 10, 12, -7, -8});
    expect(top_of(scale({.axis = 0}), {x}, {two}, solo), {2, 4, 6, 8, -5, -6, -7, -8});
    expect(top_of(scale({.axis = -1}), {x}, {two}, solo), {2, -2, 6, -4, 10, -6, 14, -8});
    expect(top_of(scale({.num_axes = 0}), {x}, {numbers({}, {3})}, solo), {3, 6, 9, 12, 15, 18, 21, 24});
    expect(
        top_of(scale({.bias = true}), {x}, {two, numbers({2}, {0.5, 10})}, solo),
        {2.5, 4.5, 7, 6, 10.5, 12.5, 3, 2});
    expect(
        top_of(scale({.num_axes = 0, .bias = true}), {x}, {numbers({}, {3}), numbers({}, {1})}, solo),
        {4, 7, 10, 13, 16, 19, 22, 25});
    expect(top_of(product(), {x, two}, {}, solo), {2, 4, -3, -4, 10, 12, -7, -8});
    expect(
        top_of(product({.axis = 0, .bias = true}), {x, two}, {numbers({2}, {0.5, 10})}, solo),
        {2.5, 4.5, 6.5, 8.5, 5, 4, 3, 2});
    expect(top_of(product(), {x, numbers({}, {3})}, {}, solo), {3, 6, 9, 12, 15, 18, 21, 24});
  }
}

TEST_CASE("ScaleLayer: gradients") {
  for (const bool bias : {false, true}) {
    for (const Shape& shape : {Shape{2, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{1, 17, 1, 1}})
      for (const Dim num_axes : {-1, 0, 1}) check_gradients_of(scale({.num_axes = num_axes, .bias = bias}), {shape});
    check_gradients_of(scale({.axis = 0, .num_axes = 2, .bias = bias}), {Shape{2, 3, 4}});
    check_gradients_of(scale({.axis = 0, .bias = bias}), {Shape{7}});
    check_gradients_of(scale({.bias = bias, .lr_mult = {0, 1}}), {Shape{2, 3, 4}});
    check_gradients_of(scale({.bias = bias, .lr_mult = {1, 0}}), {Shape{2, 3, 4}});
    check_gradients_of(scale({.bias = bias, .lr_mult = {0, 0}}), {Shape{2, 3, 4}});
    check_gradients_of(product({.bias = bias}), {Shape{2, 3, 4}, Shape{3}});
    check_gradients_of(product({.axis = 0, .bias = bias}), {Shape{2, 3, 4}, Shape{2, 3}});
    check_gradients_of(product({.axis = 0, .bias = bias}), {Shape{2, 3, 4}, Shape{2, 3, 4}});
    check_gradients_of(product({.axis = 9, .bias = bias}), {Shape{2, 3}, Shape()});
  }
}

TEST_CASE("ScaleLayer: runs in place where no backward pass follows") {
  const Tensor x = numbers({1, 2}, {3, 4}), two = numbers({2}, {2, -1});
  CHECK(SoloLayer(scale(), {{1, 2}}, {}).setup().in_place_bottoms == 0);
  const SoloLayer test(scale(), {{1, 2}}, {.phase = Phase::Test});
  CHECK(test.setup().in_place_bottoms == 1);
  check_equal(top_of(scale(), {x}, {two}, {.phase = Phase::Test, .in_place = true}), numbers({1, 2}, {6, -4}));
}

TEST_CASE("ScaleLayer: messages") {
  const Shape image{2, 3, 4, 5};
  CHECK(refusal(scale({.axis = -5}), {image}) == "there is no axis -5 in its input of 4 dimensions");
  CHECK(refusal(scale({.num_axes = -2}), {image}) == "option .num_axes must be -1 or more, not -2");
  CHECK(
      refusal(scale({.axis = 2, .num_axes = 3}), {image}) ==
      "option .num_axes is 3, and from axis 2 on its input has 2");
  CHECK(
      refusal(product(), {image, {4}}) ==
      "input 1 must have the shape of input 0 from axis 1 on: it is [4] and input 0 is [2, 3, 4, 5]");
  CHECK(refusal(ScaleLayer{"three", {"a", "b", "c"}}, {image, {3}, {3}}) == "expects one or two inputs, not 3");
}
