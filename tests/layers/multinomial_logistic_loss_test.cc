#include "sparknet/layers/multinomial_logistic_loss.h"

#include <cmath>

#include "loss_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam loss(double weight = 1) {
  return MultinomialLogisticLoss{"loss", {"prob", "label"}, {.loss_weight = weight}};
}

const double ln2 = std::log(2.0);
const Tensor prob = numbers({2, 3}, {0.25, 0.25, 0.5, 0.125, 0.75, 0.125});

}  // namespace

TEST_CASE("MultinomialLogisticLoss: description") {
  check_description<MultinomialLogisticLoss>();
  CHECK(loss() == MultinomialLogisticLoss{"loss", {"prob", "label"}});
  CHECK(loss() != loss(2));
  CHECK(loss().options_text() == "");
  CHECK(loss(0.5).options_text() == "{.loss_weight = 0.5}");
}

TEST_CASE("MultinomialLogisticLoss: one loss, whatever the shapes") {
  CHECK(shape_of(loss(), {{64, 10}, {64}}) == Shape{1});
  CHECK(shape_of(loss(), {{64, 10, 1, 1}, {64, 1, 1, 1}}) == Shape{1});
}

TEST_CASE("MultinomialLogisticLoss: a hand-made case") {
  const Tensor labels = numbers({2}, {2, 0});
  CHECK(loss_of(loss(), {prob, labels}) == doctest::Approx((ln2 + 3 * ln2) / 2));
  check_equal(loss_gradient(loss(), {prob, labels}), numbers({2, 3}, {0, 0, -1, -4, 0, 0}));
  check_equal(loss_gradient(loss(), {prob, labels}, 0, 3), numbers({2, 3}, {0, 0, -3, -12, 0, 0}));
}

TEST_CASE("MultinomialLogisticLoss: no probability is less than 1e-20") {
  const Tensor none = numbers({1, 2}, {0, 1}), zero = numbers({1}, {0});
  CHECK(loss_of(loss(), {none, zero}) == doctest::Approx(20 * std::log(10.0)));
  CHECK(loss_of(loss(), {none, zero}, {.dtype = DType::F32}) == doctest::Approx(20 * std::log(10.0)));
  CHECK(loss_gradient(loss(), {none, zero}).get<double>(0, 0) == doctest::Approx(-1e20));
  CHECK(std::isnan(loss_of(loss(), {numbers({1, 2}, {not_a_number, 1}), zero})));
}

TEST_CASE("MultinomialLogisticLoss: gradients") {
  const GradientCheckOptions positive{.values = Filler::uniform(0.2, 0.9)};
  check_gradients_of(loss(), {Shape{4, 5}, numbers({4}, {0, 4, 2, 2})}, positive);
  check_gradients_of(loss(-0.3), {Shape{2, 3, 2, 1}, numbers({2, 1}, {5, 0})}, positive);
}

TEST_CASE("MultinomialLogisticLoss: 32 bits and threads") {
  Tensor many({600}, DType::F64), likely = noise({600, 30});
  for (Dim i = 0; i < 600; ++i) many.set<double>(static_cast<double>(i % 30), i);
  for (double& p : likely.span<double>()) p = 0.1 + std::abs(p);
  check_loss_in_f32(loss(), {prob, numbers({2}, {2, 0})});
  check_loss_in_f32(loss(), {likely, many});
}

TEST_CASE("MultinomialLogisticLoss: what it declares") {
  const SoloLayer solo(loss(0.25), {{4, 5}, {4}}, {});
  CHECK(solo.setup().loss_weight == 0.25);
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(solo.setup().reads_tops);
}

TEST_CASE("MultinomialLogisticLoss: messages") {
  CHECK(refusal(loss(), {{64, 10}, {32}}) == "the scores hold 64 examples and the labels 32");
  CHECK(refusal(loss(), {{64, 10}, {64, 10}}) == "expects one label for each example, not 10");
  CHECK(refusal(loss(not_a_number), {{2, 2}, {2}}) == "option .loss_weight must be finite, not nan");
  CHECK(forward_error(loss(), {prob, numbers({2}, {0, -1})}) == "the label of example 1 is -1 and there are 3 classes");
}
