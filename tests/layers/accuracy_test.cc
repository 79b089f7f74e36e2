#include "sparknet/layers/accuracy.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam accuracy(AccuracyOptions options = {}) {
  return AccuracyLayer{"accuracy", {"scores", "label"}, options};
}

LayerParam per_class(AccuracyOptions options) {
  return with(accuracy(options), {.top = {"accuracy", "per_class"}});
}

double value(const AccuracyOptions& options, const Tensor& scores, const Tensor& labels) {
  return top_of(accuracy(options), {scores, labels}).get<double>(0);
}

const Tensor scores = numbers({4, 3}, {1, 2, 3, 3, 2, 1, 2, 3, 1, -1, -2, -3});

}  // namespace

TEST_CASE("AccuracyLayer: description") {
  check_description<AccuracyLayer>();
  CHECK(accuracy() == accuracy({.top_k = 1}));
  CHECK(accuracy() != accuracy({.top_k = 2}));
  CHECK(accuracy().options_text() == "");
  CHECK(
      accuracy({.top_k = 5, .axis = -1, .ignore_label = 0}).options_text() ==
      "{.top_k = 5, .axis = -1, .ignore_label = 0}");
  CHECK(shape_of(accuracy(), {{64, 10}, {64, 1}}) == Shape{1});
}

TEST_CASE("AccuracyLayer: a hand-made case") {
  const Tensor labels = numbers({4}, {2, 1, 0, 0});
  CHECK(value({}, scores, labels) == 0.5);
  CHECK(value({.top_k = 2}, scores, labels) == 1);
  CHECK(value({}, scores, numbers({4, 1}, {0, 2, 2, 2})) == 0);
  CHECK(value({.top_k = 3}, scores, numbers({4, 1}, {0, 2, 2, 2})) == 1);
  CHECK(top_of(accuracy(), {scores, labels}, {}, {.dtype = DType::F32, .phase = Phase::Test}).get<float>(0) == 0.5F);
}

TEST_CASE("AccuracyLayer: classes along another axis") {
  const Tensor pixels = numbers({1, 2, 3}, {1, 5, 2, 3, 4, 2.5});  // the best are 1, 0, 1
  CHECK(value({}, pixels, numbers({1, 3}, {1, 0, 0})) == doctest::Approx(2.0 / 3));
  CHECK(value({.axis = -1}, numbers({1, 2, 2}, {1, 2, 4, 3}), numbers({1, 2}, {1, 0})) == 1);
}

TEST_CASE("AccuracyLayer: a class that scores as high as the label counts against it") {
  const Tensor tied = numbers({1, 3}, {2, 2, 1});
  CHECK(value({}, tied, numbers({1}, {0})) == 0);
  CHECK(value({}, tied, numbers({1}, {1})) == 0);
  CHECK(value({.top_k = 2}, tied, numbers({1}, {0})) == 1);
  CHECK(value({.top_k = 2}, numbers({1, 3}, {0, 0, 0}), numbers({1}, {0})) == 0);
}

TEST_CASE("AccuracyLayer: ignored labels do not count") {
  CHECK(value({.ignore_label = 255}, scores, numbers({4}, {2, 1, 255, 255})) == 0.5);
  CHECK(value({.ignore_label = 255}, scores, numbers({4}, {255, 255, 255, 255})) == 0);
}

TEST_CASE("AccuracyLayer: the second top tells the classes apart") {
  CHECK(per_class({}).infer(std::vector<Shape>{{64, 10}, {64}}) == std::vector<Shape>{{1}, {10}});
  CHECK(per_class({.axis = -1}).infer(std::vector<Shape>{{2, 4, 5}, {2, 4}}) == std::vector<Shape>{{1}, {5}});
  for (const DType dtype : {DType::F64, DType::F32}) {
    // Example 0 is right; nobody is of class 0, and class 2 has three.
    SoloLayer solo = ran(per_class({}), {scores, numbers({4}, {2, 1, 2, 2})}, {}, {.dtype = dtype});
    check_equal(solo.io().top(0).cast(DType::F64), numbers({1}, {0.25}));
    check_equal(solo.io().top(1).cast(DType::F64), numbers({3}, {0, 0, 1.0 / 3}), 1e-7);
    solo.forward();  // counts anew
    check_equal(solo.io().top(1).cast(DType::F64), numbers({3}, {0, 0, 1.0 / 3}), 1e-7);
  }
  const auto shares = [](const AccuracyOptions& options, const Tensor& labels) {
    SoloLayer solo = ran(per_class(options), {scores, labels});
    CHECK(solo.io().top(0).get<double>(0) == value(options, scores, labels));
    return solo.io().top(1);
  };
  check_equal(shares({}, numbers({4}, {0, 1, 1, 0})), numbers({3}, {0.5, 0.5, 0}));
  check_equal(shares({.top_k = 2}, numbers({4}, {0, 1, 1, 0})), numbers({3}, {0.5, 1, 0}));
  check_equal(shares({.ignore_label = 0}, numbers({4}, {0, 1, 1, 0})), numbers({3}, {0, 0.5, 0}));
  check_equal(shares({.ignore_label = 255}, numbers({4}, {255, 255, 255, 255})), numbers({3}, {0, 0, 0}));
}

TEST_CASE("AccuracyLayer: top_k along another axis, with ignored labels") {
  // 2 examples, 3 classes, 4 pixels; an independent loop counts what is right.
  const Tensor pixels = noise({2, 3, 4}, 9), labels = numbers({2, 4}, {0, 1, 2, 9, 1, 1, 9, 0});
  for (const Dim top_k : {1, 2, 3}) {
    double right = 0, counted = 0;
    for (Dim n = 0; n < 2; ++n)
      for (Dim i = 0; i < 4; ++i) {
        const auto label = static_cast<Dim>(labels.get<double>(n, i));
        if (label == 9) continue;
        Dim better = 0;
        for (Dim c = 0; c < 3; ++c) better += pixels.get<double>(n, c, i) > pixels.get<double>(n, label, i);
        right += better < top_k, ++counted;
      }
    CHECK(value({.top_k = top_k, .ignore_label = 9}, pixels, labels) == doctest::Approx(right / counted));
  }
}

TEST_CASE("AccuracyLayer: no gradient flows") {
  const SoloLayer solo(accuracy(), {{4, 5}, {4}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{0, 1});
  CHECK_FALSE(solo.setup().loss_weight);
  check_gradients_of(accuracy(), {Shape{4, 5}, numbers({4}, {0, 1, 2, 3})});
}

TEST_CASE("AccuracyLayer: messages") {
  CHECK(refusal(accuracy({.top_k = 0}), {{64, 10}, {64}}) == "option .top_k must be positive, not 0");
  CHECK(refusal(accuracy({.top_k = 11}), {{64, 10}, {64}}) == "option .top_k is 11 and there are 10 classes");
  CHECK(refusal(accuracy(), {{64, 10}, {32}}) == "the scores hold 64 examples and the labels 32");
  CHECK(refusal(with(accuracy(), {.top = {"a", "b", "c"}}), {{64, 10}, {64}}) == "has one top or two, not 3");
  CHECK(refusal(accuracy(), {{64, 10}, {64, 10}}) == "expects one label for each example, not 10");
  CHECK_THROWS_WITH_AS(
      ran(accuracy(), {scores, numbers({4}, {0, 1, 3, 0})}),
      doctest::Contains("the label of example 2 is 3 and there are 3 classes"),
      NetError);
  CHECK_THROWS_WITH_AS(
      ran(accuracy(), {scores, numbers({4}, {0, 1, 0.5, 0})}),
      doctest::Contains("the label of example 2 is 0.5 and there are 3 classes"),
      NetError);
}
