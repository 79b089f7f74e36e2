#include "sparknet/layers/softmax_with_loss.h"

#include <cmath>
#include <limits>

#include "loss_test.h"
#include "sparknet/layers/euclidean_loss.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(SoftmaxWithLossOptions options = {}) {
  return SoftmaxWithLoss{"loss", {"scores", "label"}, options};
}

LayerParam with_probabilities(const LayerParam& layer) {
  return with(layer, {.top = {"loss", "prob"}});
}

const double ln2 = std::log(2.0);
/// The label has probability 1/2 in the first example, 1/4 in the second, 1/4 in the third.
const Tensor scores = numbers({3, 3}, {0, ln2, 0, 0, ln2, 0, ln2, 0, 0});

}  // namespace

TEST_CASE("SoftmaxWithLoss: description") {
  check_description<SoftmaxWithLoss>();
  CHECK(SoftmaxWithLoss{"loss", {"ip2", "label"}} == SoftmaxWithLoss{"loss", {"ip2", "label"}, {}});
  CHECK(loss() != loss({.ignore_label = 0}));
  CHECK(loss().options_text() == "");
  CHECK(
      loss({.ignore_label = 255,
            .normalization = Normalization::BatchSize,
            .axis = -1,
            .label_smoothing = 0.1,
            .loss_weight = 0.5})
          .options_text() ==
      "{.ignore_label = 255, .normalization = Normalization::BatchSize, .axis = -1, .label_smoothing = 0.1, "
      ".loss_weight = 0.5}");
}

TEST_CASE("SoftmaxWithLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 10}, {64}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 10}, {64, 1}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 10, 1, 1}, {64, 1}}) == Shape{1});
  CHECK(shape_of(loss(), {{2, 10, 4, 5}, {2, 4, 5}}) == Shape{1});
  CHECK(shape_of(loss(), {{2, 10, 4, 5}, {2, 1, 4, 5}}) == Shape{1});
  CHECK(shape_of(loss({.axis = -1}), {{2, 4, 10}, {2, 4}}) == Shape{1});
  CHECK(shape_of(loss({.axis = 0}), {{10, 4}, {4}}) == Shape{1});
  CHECK(with_probabilities(loss()).infer(std::vector<Shape>{{64, 10}, {64}}) == std::vector<Shape>{{1}, {64, 10}});
}

TEST_CASE("SoftmaxWithLoss: a hand-made case") {
  for (const Shape& shape : {Shape{3}, Shape{3, 1}})
    check_equal(top_of(loss(), {scores, numbers(shape, {1, 0, 2})}), numbers({1}, {5 * ln2 / 3}));
}

TEST_CASE("SoftmaxWithLoss: normalization") {
  const Tensor pixels = numbers({1, 3, 3}, {0, 0, ln2, ln2, ln2, 0, 0, 0, 0});  // the same scores, one example
  const Tensor labels = numbers({3}, {1, 0, -1}), pixel_labels = numbers({1, 3}, {1, 0, -1});
  const auto value = [&](Normalization normalization, bool spatial) {
    const LayerParam layer = loss({.ignore_label = -1, .normalization = normalization});
    return spatial ? top_of(layer, {pixels, pixel_labels}).get<double>(0)
                   : top_of(layer, {scores, labels}).get<double>(0);
  };
  CHECK(value(Normalization::Full, false) == doctest::Approx(3 * ln2 / 3));
  CHECK(value(Normalization::Valid, false) == doctest::Approx(3 * ln2 / 2));
  CHECK(value(Normalization::BatchSize, false) == doctest::Approx(3 * ln2 / 3));
  CHECK(value(Normalization::None, false) == doctest::Approx(3 * ln2));
  CHECK(value(Normalization::Full, true) == doctest::Approx(3 * ln2 / 3));
  CHECK(value(Normalization::Valid, true) == doctest::Approx(3 * ln2 / 2));
  CHECK(value(Normalization::BatchSize, true) == doctest::Approx(3 * ln2));
  CHECK(value(Normalization::None, true) == doctest::Approx(3 * ln2));
}

TEST_CASE("SoftmaxWithLoss: where all labels are ignored the loss and its gradient are 0") {
  SoloLayer solo = ran(loss({.ignore_label = 7}), {scores, numbers({3}, {7, 7, 7})});
  check_equal(solo.io().top(), numbers({1}, {0}));
  solo.io().top_diff().fill(1);
  solo.io().bottom_diff().fill(5);
  solo.backward();
  check_equal(solo.io().bottom_diff(), Tensor({3, 3}, DType::F64));
}

TEST_CASE("SoftmaxWithLoss: the second top is the probabilities") {
  SoloLayer solo = ran(with_probabilities(loss()), {scores, numbers({3}, {1, 0, 2})});
  check_equal(solo.io().top(0), numbers({1}, {5 * ln2 / 3}));
  const Tensor probabilities = numbers({3, 3}, {0.25, 0.5, 0.25, 0.25, 0.5, 0.25, 0.5, 0.25, 0.25});
  check_equal(solo.io().top(1), probabilities);

  // Where nobody reads them their gradient is 0, and that of the scores is as without.
  solo.io().top_diff().fill(3);
  solo.backward();
  Tensor gradient = probabilities.copy();
  for (const Dim place : {1, 3, 8}) gradient.span<double>()[static_cast<std::size_t>(place)] -= 1;
  check_equal(solo.io().bottom_diff(), gradient);
  check_equal(loss_gradient(loss(), {scores, numbers({3}, {1, 0, 2})}, 0, 3), gradient);
}

TEST_CASE("SoftmaxWithLoss: smoothed labels") {
  // Targets 0.7, 0.1, 0.1, 0.1 and -log(p) of 1, 3, 3, 2 ln 2.
  const Tensor x = numbers({1, 4}, {0, -2 * ln2, -2 * ln2, -ln2}), zero = numbers({1}, {0});
  CHECK(loss_of(loss({.label_smoothing = 0.4}), {x, zero}) == doctest::Approx((0.7 + 0.3 + 0.3 + 0.2) * ln2));
  check_equal(
      loss_gradient(loss({.label_smoothing = 0.4}), {x, zero}),
      numbers({1, 4}, {0.5 - 0.7, 0.125 - 0.1, 0.125 - 0.1, 0.25 - 0.1}));
  CHECK(loss_of(loss({.label_smoothing = 1}), {x, zero}) == doctest::Approx((1 + 3 + 3 + 2) * ln2 / 4));
  CHECK(loss_of(loss({.label_smoothing = 1e-9}), {x, zero}) == doctest::Approx(loss_of(loss(), {x, zero})));

  // An ignored label stays ignored, in what is divided by too.
  const LayerParam layer = loss({.ignore_label = 9, .label_smoothing = 0.4});
  const Tensor twice = numbers({2, 4}, {0, -2 * ln2, -2 * ln2, -ln2, 1, 2, 3, 4});
  CHECK(loss_of(layer, {twice, numbers({2}, {0, 9})}) == doctest::Approx(1.5 * ln2));
  check_equal(
      loss_gradient(layer, {twice, numbers({2}, {0, 9})}),
      numbers({2, 4}, {-0.2, 0.025, 0.025, 0.15, 0, 0, 0, 0}));

  // However unlikely a class is, its part of the loss is right: 0.5 * 1000 + 0.5 * (1000 + 0) / 2.
  for (const DType dtype : {DType::F32, DType::F64})
    CHECK(
        loss_of(loss({.label_smoothing = 0.5}), {numbers({1, 2}, {0, 1000}), zero}, {.dtype = dtype}) ==
        doctest::Approx(750));
  CHECK(std::isnan(loss_of(loss({.label_smoothing = 0.5}), {numbers({1, 2}, {0, not_a_number}), zero})));
  CHECK(
      forward_error(loss({.label_smoothing = 0.5}), {x, numbers({1}, {4})}) ==
      "the label of example 0 is 4 and there are 4 classes");
}

TEST_CASE("SoftmaxWithLoss: 32 bits and threads") {
  Tensor many({50, 40}, DType::F64);
  for (Dim i = 0; i < 2000; ++i) many.set<double>(static_cast<double>(i % 5), i / 40, i % 40);
  for (const double smoothing : {0.0, 0.1})
    check_loss_in_f32(loss({.label_smoothing = smoothing}), {noise({50, 5, 40}), many});
}

TEST_CASE("SoftmaxWithLoss: gradients") {
  const Tensor labels = numbers({4}, {0, 4, 2, 2}), spatial = numbers({2, 1, 2, 2}, {0, 1, 2, 2, 1, 0, 0, 1});
  for (const Normalization normalization :
       {Normalization::Full, Normalization::Valid, Normalization::BatchSize, Normalization::None})
    for (const std::optional<Dim> ignore : {std::optional<Dim>(), std::optional<Dim>(2)})
      for (const double weight : {1.0, -0.3}) {
        SoftmaxWithLossOptions options{.ignore_label = ignore, .normalization = normalization, .loss_weight = weight};
        check_gradients_of(loss(options), {Shape{4, 5}, labels});
        check_gradients_of(loss(options), {Shape{2, 3, 2, 2}, spatial});
        check_gradients_of(with_probabilities(loss(options)), {Shape{2, 3, 2, 2}, spatial});
        options.label_smoothing = 0.3;
        check_gradients_of(loss(options), {Shape{4, 5}, labels});
        check_gradients_of(with_probabilities(loss(options)), {Shape{2, 3, 2, 2}, spatial});
      }
  check_gradients_of(loss({.axis = -1}), {Shape{2, 2, 5}, numbers({2, 2}, {0, 4, 2, 2})});
  check_gradients_of(loss({.axis = 0}), {Shape{5, 4}, labels});
}

TEST_CASE("SoftmaxWithLoss: another loss may learn from the probabilities") {
  const NetParam net(
      "Both",
      RDDLayer{"data", {4, 3}},
      RDDLayer{"label", {4}},
      RDDLayer{"target", {4, 5}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 5, .weight_filler = Filler::gaussian(0, 1)}},
      with_probabilities(SoftmaxWithLoss{"loss", {"ip", "label"}}),
      EuclideanLoss{"distance", {"prob", "target"}});
  const GradientReport report = check_gradients(net, {{"label", numbers({4}, {0, 4, 2, 2})}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("SoftmaxWithLoss: what it declares") {
  const SoloLayer solo(loss({.loss_weight = 0.25}), {{4, 5}, {4}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(solo.setup().reads_tops);
  const SoloLayer two(with_probabilities(loss()), {{4, 5}, {4}}, {});
  CHECK(two.setup().reads_tops);
  CHECK(two.setup().state_bytes == sizeof(kernels::LossState));
}

TEST_CASE("SoftmaxWithLoss: labels outside of the classes") {
  Tensor labels({20}, DType::F64);
  labels.set<double>(12, 17);
  CHECK(forward_error(loss(), {noise({20, 10}), labels}) == "the label of example 17 is 12 and there are 10 classes");
  labels.set<double>(10, 17);
  CHECK(forward_error(loss(), {noise({20, 10}), labels}) == "the label of example 17 is 10 and there are 10 classes");
  labels.set<double>(-1, 3);
  CHECK(forward_error(loss(), {noise({20, 10}), labels}) == "the label of example 3 is -1 and there are 10 classes");
  labels.set<double>(2.5, 0);
  CHECK(forward_error(loss(), {noise({20, 10}), labels}) == "the label of example 0 is 2.5 and there are 10 classes");
  labels.set<double>(std::numeric_limits<double>::quiet_NaN(), 0);
  CHECK(forward_error(loss(), {noise({20, 10}), labels}) == "the label of example 0 is nan and there are 10 classes");
  Tensor pixels({2, 3, 4}, DType::F64);
  pixels.set<double>(5, 1, 1, 2);
  CHECK(
      forward_error(loss(), {noise({2, 5, 3, 4}), pixels}) ==
      "the label of example 1 at position 6 is 5 and there are 5 classes");
}

TEST_CASE("SoftmaxWithLoss: messages") {
  CHECK(refusal(loss(), {{64, 10}, {32, 1}}) == "the scores hold 64 examples and the labels 32");
  CHECK(refusal(loss(), {{64, 10}, {64, 10}}) == "expects one label for each example, not 10");
  CHECK(refusal(loss(), {{2, 10, 4, 5}, {2}}) == "expects 20 labels for each example, not 1");
  CHECK(refusal(loss(), {{64}, {64}}) == "there is no axis 1 in its input of 1 dimensions");
  CHECK(
      refusal(loss({.loss_weight = std::numeric_limits<double>::infinity()}), {{2, 2}, {2}}) ==
      "option .loss_weight must be finite, not inf");
  CHECK(
      refusal(loss({.label_smoothing = 1.5}), {{2, 2}, {2}}) == "option .label_smoothing must be from 0 to 1, not 1.5");
  CHECK(
      refusal(loss({.label_smoothing = not_a_number}), {{2, 2}, {2}}) ==
      "option .label_smoothing must be from 0 to 1, not nan");
  CHECK(refusal(with(loss(), {.top = {"a", "b", "c"}}), {{2, 2}, {2}}) == "has one top or two, not 3");
}
