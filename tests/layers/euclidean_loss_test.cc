#include "sparknet/layers/euclidean_loss.h"

#include "loss_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(double weight = 1) {
  return EuclideanLoss{"loss", {"x", "target"}, {.loss_weight = weight}};
}

}  // namespace

TEST_CASE("EuclideanLoss: description") {
  check_description<EuclideanLoss>();
  CHECK(EuclideanLoss{"loss", {"x", "target"}} == EuclideanLoss{"loss", {"x", "target"}, {.loss_weight = 1}});
  CHECK(loss() != loss(2));
  CHECK(loss().options_text() == "");
  CHECK(loss(0.5).options_text() == "{.loss_weight = 0.5}");
}

TEST_CASE("EuclideanLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 10}, {64, 10}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 1}, {64}}) == Shape{1});
  CHECK(shape_of(loss(), {{2, 3, 4, 5}, {2, 60}}) == Shape{1});
}

TEST_CASE("EuclideanLoss: a hand-made case") {
  const Tensor x = numbers({2, 2}, {1, 2, 3, 4}), target = numbers({2, 2}, {0, 2, 5, 1});  // differences 1, 0, -2, 3
  CHECK(loss_of(loss(), {x, target}) == doctest::Approx(14.0 / 4));
  check_equal(loss_gradient(loss(), {x, target}), numbers({2, 2}, {0.5, 0, -1, 1.5}));
  check_equal(loss_gradient(loss(), {x, target}, 1), numbers({2, 2}, {-0.5, 0, 1, -1.5}));
  check_equal(loss_gradient(loss(), {x, target}, 0, 4), numbers({2, 2}, {2, 0, -4, 6}));
  CHECK(loss_of(loss(), {x, x}) == 0);
}

TEST_CASE("EuclideanLoss: gradients") {
  check_gradients_of(loss(), {Shape{4, 5}, Shape{4, 5}});
  check_gradients_of(loss(-0.3), {Shape{2, 3, 2, 2}, Shape{2, 12}});
  check_gradients_of(loss(3), {Shape{3}, Shape{3, 1}});
}

TEST_CASE("EuclideanLoss: 32 bits and threads") {
  check_loss_in_f32(loss(), {noise({3, 7}, 1), noise({3, 7}, 2)});
  check_loss_in_f32(loss(), {noise({50, 1000}, 1), noise({50, 1000}, 2)});
}

TEST_CASE("EuclideanLoss: what it declares") {
  const SoloLayer solo(loss(0.25), {{4, 5}, {4, 5}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms.empty());
  CHECK_FALSE(solo.setup().reads_bottoms);
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("EuclideanLoss: messages") {
  CHECK(refusal(loss(), {{64, 10}, {32, 10}}) == "the predictions hold 64 examples and the targets 32");
  CHECK(refusal(loss(), {{64, 10}, {64, 5}}) == "the predictions hold 10 numbers for each example and the targets 5");
  CHECK(refusal(loss(), {{}, {64, 5}}) == "expects examples: the predictions are [] and the targets [64, 5]");
  CHECK(refusal(loss(infinity), {{2, 2}, {2, 2}}) == "option .loss_weight must be finite, not inf");
}
