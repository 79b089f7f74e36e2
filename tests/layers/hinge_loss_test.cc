#include "sparknet/layers/hinge_loss.h"

#include "loss_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(HingeNorm norm = HingeNorm::L1, double weight = 1) {
  return HingeLoss{"loss", {"scores", "label"}, {.norm = norm, .loss_weight = weight}};
}

/// What misses the margin: 0.5 + 0 + 3 in the first example, 1.5 + 2 + 0 in the second.
const Tensor scores = numbers({2, 3}, {0.5, -1.5, 2, 0.5, -1, -4}), labels = numbers({2, 1}, {0, 1});

}  // namespace

TEST_CASE("HingeLoss: description") {
  check_description<HingeLoss>();
  CHECK(HingeLoss{"loss", {"ip", "label"}} == HingeLoss{"loss", {"ip", "label"}, {.norm = HingeNorm::L1}});
  CHECK(loss() != loss(HingeNorm::L2));
  CHECK(loss().options_text() == "");
  CHECK(loss(HingeNorm::L2, 0.5).options_text() == "{.norm = HingeNorm::L2, .loss_weight = 0.5}");
  CHECK(to_text(HingeNorm::L1) == "HingeNorm::L1");
}

TEST_CASE("HingeLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 10}, {64}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 10, 1, 1}, {64, 1}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 2, 3, 4}, {64, 1, 1, 1}}) == Shape{1});
}

TEST_CASE("HingeLoss: a hand-made case") {
  CHECK(loss_of(loss(), {scores, labels}) == doctest::Approx((3.5 + 3.5) / 2));
  CHECK(loss_of(loss(HingeNorm::L2), {scores, labels}) == doctest::Approx((0.25 + 9 + 2.25 + 4) / 2));
  check_equal(loss_gradient(loss(), {scores, labels}), numbers({2, 3}, {-0.5, 0, 0.5, 0.5, -0.5, 0}));
  check_equal(loss_gradient(loss(), {scores, labels}, 0, 2), numbers({2, 3}, {-1, 0, 1, 1, -1, 0}));
  check_equal(loss_gradient(loss(HingeNorm::L2), {scores, labels}), numbers({2, 3}, {-0.5, 0, 3, 1.5, -2, 0}));
}

TEST_CASE("HingeLoss: at the margin, and where a score is not a number") {
  const Tensor on = numbers({1, 2}, {1, -1}), zero = numbers({1}, {0});
  CHECK(loss_of(loss(), {on, zero}) == 0);
  check_equal(loss_gradient(loss(), {on, zero}), numbers({1, 2}, {0, 0}));
  CHECK(std::isnan(loss_of(loss(), {numbers({1, 2}, {2, not_a_number}), zero})));
  CHECK(std::isnan(loss_of(loss(HingeNorm::L2), {numbers({1, 2}, {not_a_number, -2}), zero})));
}

TEST_CASE("HingeLoss: gradients") {
  const GradientCheckOptions away{.kink = 1, .kink_range = 0.001};
  for (const HingeNorm norm : {HingeNorm::L1, HingeNorm::L2}) {
    check_gradients_of(loss(norm), {Shape{4, 5}, numbers({4}, {0, 4, 2, 2})}, away);
    check_gradients_of(loss(norm, -0.3), {Shape{2, 3, 2, 1}, numbers({2, 1}, {5, 0})}, away);
  }
}

TEST_CASE("HingeLoss: 32 bits and threads") {
  Tensor many({600}, DType::F64);
  for (Dim i = 0; i < 600; ++i) many.set<double>(static_cast<double>(i % 30), i);
  for (const HingeNorm norm : {HingeNorm::L1, HingeNorm::L2}) {
    check_loss_in_f32(loss(norm), {scores, labels});
    check_loss_in_f32(loss(norm), {noise({600, 30}), many});
  }
}

TEST_CASE("HingeLoss: what it declares") {
  const SoloLayer solo(loss(HingeNorm::L1, 0.25), {{4, 5}, {4}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("HingeLoss: messages") {
  CHECK(refusal(loss(), {{64, 10}, {32}}) == "the scores hold 64 examples and the labels 32");
  CHECK(refusal(loss(), {{64, 10}, {64, 10}}) == "expects one label for each example, not 10");
  CHECK(refusal(loss(), {{}, {}}) == "expects examples: the scores are [] and the labels []");
  CHECK(refusal(loss(HingeNorm::L1, infinity), {{2, 2}, {2}}) == "option .loss_weight must be finite, not inf");
  CHECK(
      forward_error(loss(), {scores, numbers({2, 1}, {0, 3})}) ==
      "the label of example 1 is 3 and there are 3 classes");
  CHECK(
      forward_error(loss(), {scores, numbers({2}, {not_a_number, 3})}) ==
      "the label of example 0 is nan and there are 3 classes");
}
