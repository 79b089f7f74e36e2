#include "sparknet/layers/sigmoid_cross_entropy_loss.h"

#include <cmath>

#include "loss_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(SigmoidCrossEntropyLossOptions options = {}) {
  return SigmoidCrossEntropyLoss{"loss", {"scores", "target"}, options};
}

const double ln3 = std::log(3.0);
/// The sigmoids are 1/2, 3/4, 1/4, 3/4.
const Tensor scores = numbers({2, 2}, {0, ln3, -ln3, ln3});

}  // namespace

TEST_CASE("SigmoidCrossEntropyLoss: description") {
  check_description<SigmoidCrossEntropyLoss>();
  CHECK(loss() == SigmoidCrossEntropyLoss{"loss", {"scores", "target"}});
  CHECK(loss() != loss({.ignore_label = 0}));
  CHECK(loss().options_text() == "");
  CHECK(loss({.normalization = Normalization::BatchSize}).options_text() == "");
  CHECK(
      loss({.ignore_label = 255, .normalization = Normalization::Valid, .loss_weight = 0.5}).options_text() ==
      "{.ignore_label = 255, .normalization = Normalization::Valid, .loss_weight = 0.5}");
}

TEST_CASE("SigmoidCrossEntropyLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 10}, {64, 10}}) == Shape{1});
  CHECK(shape_of(loss(), {{64}, {64, 1}}) == Shape{1});
  CHECK(shape_of(loss(), {{2, 3, 4, 5}, {2, 60}}) == Shape{1});
}

TEST_CASE("SigmoidCrossEntropyLoss: a hand-made case") {
  const Tensor targets = numbers({2, 2}, {1, 0, 0, 0.5});
  const double last = -0.5 * std::log(0.75) - 0.5 * std::log(0.25);
  CHECK(
      loss_of(loss(), {scores, targets}) ==
      doctest::Approx((std::log(2.0) - std::log(0.25) - std::log(0.75) + last) / 2));
  check_equal(loss_gradient(loss(), {scores, targets}), numbers({2, 2}, {-0.25, 0.375, 0.125, 0.125}));
  check_equal(loss_gradient(loss(), {scores, targets}, 0, 4), numbers({2, 2}, {-1, 1.5, 0.5, 0.5}));
}

TEST_CASE("SigmoidCrossEntropyLoss: what is ignored, and what it is divided by") {
  const Tensor targets = numbers({2, 2}, {1, -1, -1, 0});
  const double sum = std::log(2.0) - std::log(0.25);
  const auto layer = [](Normalization normalization) {
    return loss({.ignore_label = -1, .normalization = normalization});
  };
  CHECK(loss_of(layer(Normalization::Full), {scores, targets}) == doctest::Approx(sum / 4));
  CHECK(loss_of(layer(Normalization::Valid), {scores, targets}) == doctest::Approx(sum / 2));
  CHECK(loss_of(layer(Normalization::BatchSize), {scores, targets}) == doctest::Approx(sum / 2));
  CHECK(loss_of(layer(Normalization::None), {scores, targets}) == doctest::Approx(sum));
  check_equal(loss_gradient(layer(Normalization::None), {scores, targets}), numbers({2, 2}, {-0.5, 0, 0, 0.75}));
  check_equal(loss_gradient(layer(Normalization::Full), {scores, targets}), numbers({2, 2}, {-0.125, 0, 0, 0.1875}));

  const Tensor none = numbers({2, 2}, {-1, -1, -1, -1.5});  // only whole parts are compared
  CHECK(loss_of(layer(Normalization::Valid), {scores, none}) == 0);
  check_equal(loss_gradient(layer(Normalization::Valid), {scores, none}), numbers({2, 2}, {0, 0, 0, 0}));
}

TEST_CASE("SigmoidCrossEntropyLoss: scores of any size") {
  const Tensor huge = numbers({4}, {1000, -1000, 1000, -1000}), targets = numbers({4}, {1, 0, 0, 1});
  const SoloOptions narrow{.dtype = DType::F32};
  CHECK(loss_of(loss(), {huge, targets}) == doctest::Approx(500));
  CHECK(loss_of(loss(), {huge, targets}, narrow) == doctest::Approx(500));
  check_equal(loss_gradient(loss(), {huge, targets}), numbers({4}, {0, 0, 0.25, -0.25}));
  check_equal(loss_gradient(loss(), {huge, targets}, 0, 1, narrow).cast(DType::F64), numbers({4}, {0, 0, 0.25, -0.25}));
  CHECK(std::isnan(loss_of(loss(), {numbers({1}, {not_a_number}), numbers({1}, {1})})));
}

TEST_CASE("SigmoidCrossEntropyLoss: gradients") {
  Tensor targets = noise({2, 3, 2, 2}, 3);
  for (double& target : targets.span<double>()) target = target > 1 ? 2 : std::abs(target);
  for (const Normalization normalization :
       {Normalization::Full, Normalization::Valid, Normalization::BatchSize, Normalization::None})
    for (const std::optional<Dim> ignore : {std::optional<Dim>(), std::optional<Dim>(2)})
      check_gradients_of(
          loss({.ignore_label = ignore, .normalization = normalization, .loss_weight = -0.3}),
          {Shape{2, 12}, targets});
  check_gradients_of(loss(), {Shape{3}, numbers({3, 1}, {0, 1, 1})});
}

TEST_CASE("SigmoidCrossEntropyLoss: 32 bits and threads") {
  Tensor targets({100, 99}, DType::F64);
  for (Dim i = 0; i < 100; ++i) targets.set<double>(1, i, i % 99);
  check_loss_in_f32(loss(), {scores, numbers({2, 2}, {1, 0, 0, 1})});
  check_loss_in_f32(loss({.normalization = Normalization::Valid}), {noise({100, 99}), targets});
}

TEST_CASE("SigmoidCrossEntropyLoss: what it declares") {
  const SoloLayer solo(loss({.loss_weight = 0.25}), {{4, 5}, {4, 5}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("SigmoidCrossEntropyLoss: messages") {
  CHECK(refusal(loss(), {{64, 10}, {32, 10}}) == "the scores hold 64 examples and the targets 32");
  CHECK(refusal(loss(), {{64, 10}, {64}}) == "the scores hold 10 numbers for each example and the targets 1");
  CHECK(refusal(loss({.loss_weight = infinity}), {{2, 2}, {2, 2}}) == "option .loss_weight must be finite, not inf");
}
