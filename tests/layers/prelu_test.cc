#include "sparknet/layers/prelu.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam prelu(PReLUOptions options = {}) {
  return PReLULayer{"prelu", {"x"}, options};
}

}  // namespace

TEST_CASE("PReLULayer: description") {
  check_description<PReLULayer>();
  CHECK(PReLULayer{"prelu", {"x"}} == PReLULayer{"prelu", {"x"}, {.filler = Filler::constant(0.25)}});
  CHECK(prelu() != prelu({.channel_shared = true}));
  CHECK(prelu().options_text() == "");
  CHECK(
      prelu({.channel_shared = true, .filler = Filler::constant(0.1), .lr_mult = 2, .decay_mult = 0}).options_text() ==
      "{.channel_shared = true, .filler = Filler::constant(0.1), .lr_mult = 2, .decay_mult = 0}");
  CHECK(shape_of(prelu(), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
}

TEST_CASE("PReLULayer: parameters") {
  const SoloLayer each(prelu({.lr_mult = 2, .decay_mult = 0}), {{2, 3, 4}}, {});
  REQUIRE(each.setup().params.size() == 1);
  CHECK(each.setup().params[0].name == "slope");
  CHECK(each.setup().params[0].shape == Shape{3});
  CHECK(each.setup().params[0].filler == Filler::constant(0.25));
  CHECK(each.setup().params[0].lr_mult == 2);
  CHECK(each.setup().params[0].decay_mult == 0);
  CHECK(SoloLayer(prelu({.channel_shared = true}), {{2, 3, 4}}, {}).setup().params.at(0).shape == Shape());
}

TEST_CASE("PReLULayer: hand-made cases") {
  const Tensor x = numbers({2, 2, 2}, {1, -2, 3, -4, -5, 6, 0, 8}), slope = numbers({2}, {0.5, -1});
  const Tensor each = numbers({2, 2, 2}, {1, -1, 3, 4, -2.5, 6, 0, 8});
  const Tensor shared = numbers({2, 2, 2}, {1, -0.5, 3, -1, -1.25, 6, 0, 8});
  const Tensor quarter = numbers({}, {0.25});
  for (const DType dtype : {DType::F32, DType::F64}) {
    check_equal(top_of(prelu(), {x}, {slope}, {.dtype = dtype}), each.cast(dtype));
    check_equal(top_of(prelu({.channel_shared = true}), {x}, {quarter}, {.dtype = dtype}), shared.cast(dtype));
  }
  check_equal(top_of(prelu(), {x}, {slope}, {.phase = Phase::Test, .in_place = true}), each);
  CHECK(SoloLayer(prelu(), {{2, 2}}, {}).setup().in_place_bottoms == 0);

  SoloLayer solo = ran(prelu(), {x}, {slope});
  solo.io().top_diff().copy_from(numbers({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  solo.backward();
  check_equal(solo.io().bottom_diff(), numbers({2, 2, 2}, {1, 1, 3, -4, 2.5, 6, -7, 8}));  // 0 is not above 0
  check_equal(solo.io().param_diff(0), numbers({2}, {2 * -2 + 5 * -5, 4 * -4}));
}

TEST_CASE("PReLULayer: gradients") {
  const GradientCheckOptions off_kink{.kink_range = 1e-3};
  for (const bool shared : {false, true}) {
    for (const Shape& shape : {Shape{3, 4}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{1, 17, 1, 1}})
      check_gradients_of(prelu({.channel_shared = shared}), {shape}, off_kink);
    check_gradients_of(prelu({.channel_shared = shared, .lr_mult = 0}), {Shape{2, 3, 4}}, off_kink);
  }
}

TEST_CASE("PReLULayer: messages") {
  CHECK(refusal(prelu(), {{5}}) == "expects a batch [N, C, ...], which has 2 or more dimensions, not 1");
}
