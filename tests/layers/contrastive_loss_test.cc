#include "sparknet/layers/contrastive_loss.h"

#include <cmath>

#include "loss_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(ContrastiveLossOptions options = {}) {
  return ContrastiveLoss{"loss", {"a", "b", "similar"}, options};
}

/// The distances are 5, 0.5, 5, 1; the first two pairs belong together.
const Tensor a = numbers({4, 2}, {3, 4, 1, 1, 1, 1, 2, 0}), b = numbers({4, 2}, {0, 0, 0.5, 1, 4, 5, 1, 0});
const Tensor similar = numbers({4}, {1, 1, 0, 0});

}  // namespace

TEST_CASE("ContrastiveLoss: description") {
  check_description<ContrastiveLoss>();
  CHECK(loss() == ContrastiveLoss{"loss", {"a", "b", "similar"}});
  CHECK(loss() != loss({.legacy_version = true}));
  CHECK(loss().options_text() == "");
  CHECK(
      loss({.margin = 2, .legacy_version = true, .loss_weight = 0.5}).options_text() ==
      "{.margin = 2, .legacy_version = true, .loss_weight = 0.5}");
}

TEST_CASE("ContrastiveLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 2}, {64, 2}, {64}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 2, 1, 1}, {64, 2}, {64, 1, 1, 1}}) == Shape{1});
}

TEST_CASE("ContrastiveLoss: a hand-made case") {
  CHECK(loss_of(loss({.margin = 3}), {a, b, similar}) == doctest::Approx((25 + 0.25 + 0 + 4) / 8));
  CHECK(
      loss_of(loss({.margin = 3, .legacy_version = true}), {a, b, similar}) ==
      doctest::Approx((25 + 0.25 + 0 + 2) / 8));

  // The last pair is pushed apart: by (margin - d) / (d + 0.0001), and by 1.
  const double push = 2 / 1.0001 / 4;
  check_equal(
      loss_gradient(loss({.margin = 3}), {a, b, similar}),
      numbers({4, 2}, {0.75, 1, 0.125, 0, 0, 0, -push, 0}));
  check_equal(
      loss_gradient(loss({.margin = 3}), {a, b, similar}, 1, 4),
      numbers({4, 2}, {-3, -4, -0.5, 0, 0, 0, 4 * push, 0}));
  check_equal(
      loss_gradient(loss({.margin = 3, .legacy_version = true}), {a, b, similar}),
      numbers({4, 2}, {0.75, 1, 0.125, 0, 0, 0, -0.25, 0}));
}

TEST_CASE("ContrastiveLoss: a label is 0 where its whole part is") {
  for (const double label : {1.0, -1.0, 7.0, 1.5})
    CHECK(loss_of(loss(), {a, b, numbers({4}, {label, 1, 0.9, -0.5})}) == doctest::Approx(25.25 / 8));
}

TEST_CASE("ContrastiveLoss: equal features that do not belong together have no gradient") {
  for (const bool legacy : {false, true}) {
    const LayerParam layer = loss({.legacy_version = legacy});
    CHECK(loss_of(layer, {a, a, numbers({4}, {0, 0, 0, 0})}) == doctest::Approx(0.5));
    check_equal(loss_gradient(layer, {a, a, numbers({4}, {0, 0, 0, 0})}), Tensor({4, 2}, DType::F64));
  }
}

TEST_CASE("ContrastiveLoss: the gradient of the second features alone") {
  SoloLayer solo = ran(loss({.margin = 3}), {a, b, similar});
  solo.io().top_diff().fill(1);
  solo.backward();
  const Tensor both = solo.io().bottom_diff(1).copy();
  solo.io().bottom_diffs[0] = Tensor();
  solo.io().bottom_diff(1).fill(not_a_number);
  solo.backward();
  check_equal(solo.io().bottom_diff(1), both, 0);
}

TEST_CASE("ContrastiveLoss: gradients") {
  const Tensor mixed = numbers({6}, {1, 0, 0, 1, 0, 0});
  check_gradients_of(loss({.margin = 20, .legacy_version = true}), {Shape{6, 3}, Shape{6, 3}, mixed});
  check_gradients_of(
      loss({.margin = 1, .legacy_version = true, .loss_weight = -0.3}),
      {Shape{6, 1, 2}, Shape{6, 2}, mixed.reshape({6, 1})});
  // 1e-4 beside distances around 2.
  const GradientCheckOptions loose{.threshold = 1e-3};
  check_gradients_of(loss({.margin = 5}), {Shape{6, 3}, Shape{6, 3}, mixed}, loose);
  check_gradients_of(loss({.margin = 2, .loss_weight = 3}), {Shape{6, 5}, Shape{6, 5}, mixed}, loose);
  check_gradients_of(loss({.margin = 2}), {Shape{3, 4}, Shape{3, 4}, numbers({3}, {1, 1, 1})});
}

TEST_CASE("ContrastiveLoss: 32 bits and threads") {
  Tensor many({500}, DType::F64);
  for (Dim i = 0; i < 500; i += 3) many.set<double>(1, i);
  for (const bool legacy : {false, true}) {
    check_loss_in_f32(loss({.margin = 3, .legacy_version = legacy}), {a, b, similar});
    check_loss_in_f32(loss({.margin = 9, .legacy_version = legacy}), {noise({500, 30}, 1), noise({500, 30}, 2), many});
  }
}

TEST_CASE("ContrastiveLoss: what it declares") {
  const SoloLayer solo(loss({.loss_weight = 0.25}), {{4, 5}, {4, 5}, {4}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{2});
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("ContrastiveLoss: messages") {
  CHECK(refusal(loss(), {{64, 2}, {32, 2}, {64}}) == "the first features hold 64 examples and the second features 32");
  CHECK(
      refusal(loss(), {{64, 2}, {64, 3}, {64}}) ==
      "the first features hold 2 numbers for each example and the second features 3");
  CHECK(refusal(loss(), {{64, 2}, {64, 2}, {32}}) == "the features hold 64 examples and the labels 32");
  CHECK(refusal(loss(), {{64, 2}, {64, 2}, {64, 2}}) == "expects one label for each pair, not 2");
  CHECK(refusal(loss({.margin = infinity}), {{2, 2}, {2, 2}, {2}}) == "option .margin must be finite, not inf");
  CHECK(
      refusal(loss({.loss_weight = infinity}), {{2, 2}, {2, 2}, {2}}) == "option .loss_weight must be finite, not inf");
  CHECK(forward_error(loss(), {a, b, numbers({4}, {0, 1, not_a_number, 0})}) == "the label of pair 2 is nan");
}
