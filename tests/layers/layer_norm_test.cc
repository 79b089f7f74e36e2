#include "sparknet/layers/layer_norm.h"

#include <cmath>
#include <limits>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam layer_norm(LayerNormOptions options = {}) {
  return LayerNormLayer{"norm", {"x"}, options};
}

}  // namespace

TEST_CASE("LayerNormLayer: description") {
  check_description<LayerNormLayer>();
  CHECK(LayerNormLayer{"norm", {"x"}} == LayerNormLayer{"norm", {"x"}, {.axis = -1}});
  CHECK(layer_norm() != layer_norm({.affine = false}));
  CHECK(layer_norm().options_text() == "");
  CHECK(
      layer_norm({.axis = 1, .eps = 0.5, .affine = false, .lr_mult = {1, 2}, .decay_mult = {0, 0}}).options_text() ==
      "{.axis = 1, .eps = 0.5, .affine = false, .lr_mult = {1, 2}, .decay_mult = {0, 0}}");
  CHECK(shape_of(layer_norm(), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
}

TEST_CASE("LayerNormLayer: parameters") {
  const SoloLayer solo(layer_norm({.axis = 1, .lr_mult = {1, 2}, .decay_mult = {1, 0}}), {{2, 3, 4}}, {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 2);
  CHECK(params[0].name == "gamma");
  CHECK(params[0].shape == Shape{3, 4});
  CHECK(params[0].filler == Filler::constant(1));
  CHECK(params[1].name == "beta");
  CHECK(params[1].shape == Shape{3, 4});
  CHECK(params[1].filler == Filler::constant(0));
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
  CHECK(SoloLayer(layer_norm(), {{2, 3, 4}}, {}).setup().params.at(0).shape == Shape{4});
  CHECK(SoloLayer(layer_norm({.affine = false}), {{2, 3, 4}}, {}).setup().params.empty());
}

TEST_CASE("LayerNormLayer: hand-made cases") {
  // Variances of 1 and 4; with the eps of 5 and 12 the divisors are sqrt(6), 3 and sqrt(13), 4.
  const Tensor x = numbers({2, 2}, {1, 3, 12, 16}), gamma = numbers({2}, {2, 0}), beta = numbers({2}, {0.5, -1});
  const double d = std::sqrt(6.0);
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions solo{.dtype = dtype};
    const double close = dtype == DType::F32 ? 1e-6 : 1e-12;
    const auto expect = [&](const Tensor& actual, std::initializer_list<double> values) {
      check_equal(actual, numbers({2, 2}, values).cast(dtype), close);
    };
    expect(top_of(layer_norm({.eps = 5, .affine = false}), {x}, {}, solo), {-1 / d, 1 / d, -2.0 / 3, 2.0 / 3});
    expect(top_of(layer_norm({.eps = 12}), {x}, {gamma, beta}, solo), {-2 / std::sqrt(13.0) + 0.5, -1, -0.5, -1});
    // Over both axes: the mean is 8 and the variance (49 + 25 + 16 + 64) / 4 = 38.5.
    const double all = std::sqrt(38.5 + 10.5);
    expect(
        top_of(layer_norm({.axis = 0, .eps = 10.5, .affine = false}), {x}, {}, solo),
        {-7 / all, -5 / all, 4 / all, 8 / all});
  }
}

TEST_CASE("LayerNormLayer: against an independent loop") {
  const Shape shape{3, 4, 5};
  const Tensor x = noise(shape, 1), gamma = noise({4, 5}, 2), beta = noise({4, 5}, 3);
  Tensor expected = x.copy();
  const auto y = expected.span<double>();
  for (std::size_t row = 0; row < 60; row += 20) {
    double mean = 0, variance = 0;
    for (std::size_t i = row; i < row + 20; ++i) mean += y[i] / 20;
    for (std::size_t i = row; i < row + 20; ++i) variance += (y[i] - mean) * (y[i] - mean) / 20;
    for (std::size_t i = row; i < row + 20; ++i)
      y[i] = (y[i] - mean) / std::sqrt(variance + 1e-5) * gamma.span<double>()[i - row] + beta.span<double>()[i - row];
  }
  check_equal(top_of(layer_norm({.axis = 1}), {x}, {gamma, beta}), expected);
  check_equal(top_of(layer_norm({.axis = -2}), {x}, {gamma, beta}, {.phase = Phase::Test, .in_place = true}), expected);
}

TEST_CASE("LayerNormLayer: gradients") {
  for (const bool affine : {true, false}) {
    for (const Shape& shape : {Shape{4, 5}, Shape{2, 3, 4}, Shape{2, 19}, Shape{7}})
      check_gradients_of(layer_norm({.affine = affine}), {shape}, {.step = 1e-5});
    check_gradients_of(layer_norm({.axis = 1, .affine = affine}), {Shape{2, 3, 2, 3}}, {.step = 1e-5});
    check_gradients_of(layer_norm({.axis = 0, .eps = 0.5, .affine = affine}), {Shape{2, 3, 4}}, {.step = 1e-5});
  }
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(layer_norm({.lr_mult = lr_mult}), {Shape{3, 4}}, {.step = 1e-5});
}

TEST_CASE("LayerNormLayer: what backward reads") {
  const SoloLayer affine(layer_norm(), {{2, 3}}, {}), plain(layer_norm({.affine = false}), {{2, 3}}, {});
  CHECK(affine.setup().reads_bottoms);
  CHECK_FALSE(affine.setup().reads_tops);
  CHECK(affine.setup().in_place_bottoms == 0);
  CHECK_FALSE(plain.setup().reads_bottoms);
  CHECK(plain.setup().reads_tops);
  CHECK(plain.setup().in_place_bottoms == 1);
}

TEST_CASE("LayerNormLayer: messages") {
  CHECK(refusal(layer_norm({.axis = 2}), {{2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(
      refusal(layer_norm({.eps = std::numeric_limits<double>::infinity()}), {{2, 3}}) ==
      "option .eps must be finite and not below 0, not inf");
}
