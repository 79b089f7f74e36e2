#include "sparknet/layers/infogain_loss.h"

#include <cmath>

#include "loss_test.h"
#include "sparknet/layers/softmax_with_loss.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

using Matrix = std::vector<std::vector<double>>;

LayerParam loss(InfogainLossOptions options) {
  return InfogainLoss{"loss", {"scores", "label"}, options};
}
LayerParam loss_of_three(InfogainLossOptions options = {}) {
  return InfogainLoss{"loss", {"scores", "label", "H"}, options};
}
LayerParam with_probabilities(const LayerParam& layer) {
  return with(layer, {.top = {"loss", "prob"}});
}

const Matrix unit = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
const Matrix costs = {{1, 0.5, 0}, {0, 2, -1}, {0.25, 0, 3}};
const Tensor costs_blob = numbers({3, 3}, {1, 0.5, 0, 0, 2, -1, 0.25, 0, 3});

const double ln2 = std::log(2.0);
/// The probabilities are 1/4, 1/2, 1/4 twice and 1/2, 1/4, 1/4.
const Tensor scores = numbers({3, 3}, {0, ln2, 0, 0, ln2, 0, ln2, 0, 0});

}  // namespace

TEST_CASE("InfogainLoss: description") {
  check_description<InfogainLoss>();
  CHECK(loss({}) == InfogainLoss{"loss", {"scores", "label"}});
  CHECK(loss({}) != loss({.infogain = {{1}}}));
  CHECK(loss({}).options_text() == "");
  CHECK(
      loss({.infogain = {{1, 0.5}, {0, 1}},
            .ignore_label = 255,
            .normalization = Normalization::Full,
            .axis = -1,
            .loss_weight = 0.5})
          .options_text() ==
      "{.infogain = {{1, 0.5}, {0, 1}}, .ignore_label = 255, .normalization = Normalization::Full, .axis = -1, "
      ".loss_weight = 0.5}");
}

TEST_CASE("InfogainLoss: one loss, and the probabilities where there is a second top") {
  CHECK(shape_of(loss({.infogain = unit}), {{64, 3}, {64}}) == Shape{1});
  CHECK(shape_of(loss({.infogain = unit}), {{2, 3, 4, 5}, {2, 1, 4, 5}}) == Shape{1});
  CHECK(shape_of(loss({.infogain = unit, .axis = -1}), {{2, 4, 3}, {2, 4}}) == Shape{1});
  CHECK(shape_of(loss_of_three(), {{64, 3}, {64}, {3, 3}}) == Shape{1});
  CHECK(shape_of(loss_of_three(), {{64, 3}, {64}, {1, 1, 3, 3}}) == Shape{1});
  CHECK(
      with_probabilities(loss({.infogain = unit})).infer(std::vector<Shape>{{64, 3, 2}, {64, 2}}) ==
      std::vector<Shape>{{1}, {64, 3, 2}});
}

TEST_CASE("InfogainLoss: a hand-made case") {
  // Of the labels 0, 1, 2, in units of ln 2: 1 * 2 + 0.5 * 1;  2 * 1 - 1 * 2;  0.25 * 1 + 3 * 2.
  const Tensor labels = numbers({3}, {0, 1, 2});
  // p * (sum of the row) - row
  const Tensor gradient =
      numbers({3, 3}, {0.375 - 1, 0.75 - 0.5, 0.375, 0.25, 0.5 - 2, 0.25 + 1, 1.625 - 0.25, 0.8125, 0.8125 - 3});
  for (const std::size_t bottoms : {2u, 3u}) {
    const LayerParam layer = bottoms == 2 ? loss({.infogain = costs}) : loss_of_three();
    std::vector<Tensor> in = {scores, labels, costs_blob};
    in.resize(bottoms);
    CHECK(loss_of(layer, in) == doctest::Approx((2.5 + 0 + 6.25) * ln2 / 3));
    check_equal(loss_gradient(layer, in, 0, 3), gradient);
  }
}

TEST_CASE("InfogainLoss: with the unit matrix it is SoftmaxWithLoss") {
  const Tensor x = noise({2, 3, 4}, 5), labels = numbers({2, 4}, {0, 1, 2, 7, 7, 2, 0, 0});
  for (const Normalization normalization :
       {Normalization::Full, Normalization::Valid, Normalization::BatchSize, Normalization::None}) {
    const LayerParam softmax =
        SoftmaxWithLoss{"loss", {"scores", "label"}, {.ignore_label = 7, .normalization = normalization}};
    const LayerParam layer = loss({.infogain = unit, .ignore_label = 7, .normalization = normalization});
    CHECK(loss_of(layer, {x, labels}) == doctest::Approx(loss_of(softmax, {x, labels})));
    check_equal(loss_gradient(layer, {x, labels}), loss_gradient(softmax, {x, labels}));
  }
}

TEST_CASE("InfogainLoss: where all labels are ignored the loss and its gradient are 0") {
  const LayerParam layer = loss({.infogain = costs, .ignore_label = 7});
  CHECK(loss_of(layer, {scores, numbers({3}, {7, 7, 7})}) == 0);
  check_equal(loss_gradient(layer, {scores, numbers({3}, {7, 7, 7})}), Tensor({3, 3}, DType::F64));
}

TEST_CASE("InfogainLoss: no probability is less than 1e-20") {
  const Tensor far = numbers({1, 2}, {0, 1000}), zero = numbers({1}, {0});
  for (const DType dtype : {DType::F32, DType::F64})
    CHECK(
        loss_of(loss({.infogain = {{1, 0}, {0, 1}}}), {far, zero}, {.dtype = dtype}) ==
        doctest::Approx(20 * std::log(10.0)));
}

TEST_CASE("InfogainLoss: the second top is the probabilities") {
  const LayerParam layer = with_probabilities(loss({.infogain = costs}));
  SoloLayer solo = ran(layer, {scores, numbers({3}, {0, 1, 2})});
  check_equal(solo.io().top(0), numbers({1}, {8.75 * ln2 / 3}));
  check_equal(solo.io().top(1), numbers({3, 3}, {0.25, 0.5, 0.25, 0.25, 0.5, 0.25, 0.5, 0.25, 0.25}));
}

TEST_CASE("InfogainLoss: gradients") {
  const Tensor labels = numbers({4}, {0, 1, 2, 2}), spatial = numbers({2, 1, 2, 2}, {0, 1, 2, 2, 1, 0, 0, 1});
  for (const Normalization normalization :
       {Normalization::Full, Normalization::Valid, Normalization::BatchSize, Normalization::None})
    for (const std::optional<Dim> ignore : {std::optional<Dim>(), std::optional<Dim>(2)})
      for (const double weight : {1.0, -0.3}) {
        InfogainLossOptions options{
            .infogain = costs,
            .ignore_label = ignore,
            .normalization = normalization,
            .loss_weight = weight};
        check_gradients_of(loss(options), {Shape{4, 3}, labels});
        check_gradients_of(with_probabilities(loss(options)), {Shape{2, 3, 2, 2}, spatial});
        options.infogain = {};
        check_gradients_of(loss_of_three(options), {Shape{2, 3, 2, 2}, spatial, costs_blob});
      }
  check_gradients_of(loss({.infogain = costs, .axis = -1}), {Shape{2, 2, 3}, numbers({2, 2}, {0, 1, 2, 2})});
  check_gradients_of(loss({.infogain = costs, .axis = 0}), {Shape{3, 4}, labels});
}

TEST_CASE("InfogainLoss: 32 bits and threads") {
  Tensor many({50, 40}, DType::F64);
  for (Dim i = 0; i < 2000; ++i) many.set<double>(static_cast<double>(i % 3), i / 40, i % 40);
  check_loss_in_f32(loss({.infogain = costs}), {scores, numbers({3}, {0, 1, 2})});
  check_loss_in_f32(loss_of_three(), {noise({50, 3, 40}), many, costs_blob});
}

TEST_CASE("InfogainLoss: what it declares") {
  const SoloLayer two(loss({.infogain = costs, .loss_weight = 0.25}), {{4, 3}, {4}}, {});
  CHECK(two.setup().loss_weight == 0.25);
  CHECK(two.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(two.setup().reads_tops);
  const SoloLayer three(with_probabilities(loss_of_three()), {{4, 3}, {4}, {3, 3}}, {});
  CHECK(three.setup().dead_bottoms == std::vector<std::size_t>{1, 2});
  CHECK(three.setup().reads_tops);
  CHECK(three.setup().state_bytes == sizeof(kernels::LossState));
}

TEST_CASE("InfogainLoss: messages") {
  const LayerParam good = loss({.infogain = unit});
  CHECK(refusal(good, {{64, 3}, {32}}) == "the scores hold 64 examples and the labels 32");
  CHECK(refusal(good, {{64, 3}, {64, 3}}) == "expects one label for each example, not 3");
  CHECK(refusal(good, {{64, 4}, {64}}) == "option .infogain has 3 rows and there are 4 classes");
  CHECK(
      refusal(loss({.infogain = {{1, 0}, {1}}}), {{64, 2}, {64}}) ==
      "row 1 of option .infogain has 1 numbers and there are 2 classes");
  CHECK(
      refusal(loss({.infogain = {{1, infinity}, {0, 1}}}), {{64, 2}, {64}}) ==
      "option .infogain must be finite, not inf");
  CHECK(refusal(loss({}), {{64, 3}, {64}}) == "option .infogain is required where there is no third input");
  CHECK(
      refusal(loss_of_three({.infogain = unit}), {{64, 3}, {64}, {3, 3}}) ==
      "option .infogain is given, and a third input too");
  CHECK(refusal(loss_of_three(), {{64, 3}, {64}, {3, 4}}) == "there are 3 classes, and its matrix [3, 4] is not 3x3");
  CHECK(refusal(good, {{64, 3}}) == "expects scores, labels and perhaps a matrix, not 1 inputs");
  CHECK(
      refusal(loss({.infogain = unit, .loss_weight = infinity}), {{2, 3}, {2}}) ==
      "option .loss_weight must be finite, not inf");
  CHECK(refusal(with(good, {.top = {"a", "b", "c"}}), {{2, 3}, {2}}) == "has one top or two, not 3");
  CHECK(
      refusal(loss({.infogain = unit, .axis = 2}), {{2, 3}, {2}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(
      forward_error(good, {scores, numbers({3}, {0, 1, 3})}) == "the label of example 2 is 3 and there are 3 classes");
  CHECK(
      forward_error(good, {noise({2, 3, 2}), numbers({2, 2}, {0, 1, 0.5, 0})}) ==
      "the label of example 1 at position 0 is 0.5 and there are 3 classes");
}
