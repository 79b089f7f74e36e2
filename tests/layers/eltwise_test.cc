#include "sparknet/layers/eltwise.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam eltwise(EltwiseOptions options = {}) {
  return EltwiseLayer{"both", {"a", "b"}, std::move(options)};
}

LayerParam eltwise_of_three(EltwiseOptions options) {
  return EltwiseLayer{"all", {"a", "b", "c"}, std::move(options)};
}

const Tensor a = numbers({2, 2}, {1, 2, 3, 4}), b = numbers({2, 2}, {5, -6, 7, 4}), c = numbers({2, 2}, {0, 1, 9, -1});

}  // namespace

TEST_CASE("EltwiseLayer: description") {
  check_description<EltwiseLayer>();
  CHECK(EltwiseLayer{"both", {"a", "b"}} == EltwiseLayer{"both", {"a", "b"}, {.operation = Eltwise::Sum}});
  CHECK(eltwise() != eltwise({.operation = Eltwise::Max}));
  CHECK(eltwise().options_text() == "");
  CHECK(eltwise({.operation = Eltwise::Prod}).options_text() == "{.operation = Eltwise::Prod}");
  CHECK(eltwise({.coeff = {1, -1}}).options_text() == "{.coeff = {1, -1}}");
  CHECK(to_text(Eltwise::Max) == "Eltwise::Max");
  CHECK(shape_of(eltwise(), {{2, 3, 4}, {2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("EltwiseLayer: hand-made cases") {
  check_equal(top_of(eltwise(), {a, b}), numbers({2, 2}, {6, -4, 10, 8}));
  check_equal(top_of(eltwise({.coeff = {1, -2}}), {a, b}), numbers({2, 2}, {-9, 14, -11, -4}));
  check_equal(top_of(eltwise({.operation = Eltwise::Prod}), {a, b}), numbers({2, 2}, {5, -12, 21, 16}));
  check_equal(top_of(eltwise({.operation = Eltwise::Max}), {a, b}), numbers({2, 2}, {5, 2, 7, 4}));
  check_equal(top_of(eltwise_of_three({.coeff = {1, 0.5, 2}}), {a, b, c}), numbers({2, 2}, {3.5, 1, 24.5, 4}));
  check_equal(top_of(eltwise_of_three({.operation = Eltwise::Prod}), {a, b, c}), numbers({2, 2}, {0, -12, 189, -16}));
  check_equal(top_of(eltwise_of_three({.operation = Eltwise::Max}), {a, b, c}), numbers({2, 2}, {5, 2, 9, 4}));
}

TEST_CASE("EltwiseLayer: the gradient of equal maxima goes to the first") {
  SoloLayer solo = ran(eltwise({.operation = Eltwise::Max}), {a, b});
  solo.io().top_diff().fill(1);
  solo.backward();
  check_equal(solo.io().bottom_diff(0), numbers({2, 2}, {0, 1, 0, 1}));
  check_equal(solo.io().bottom_diff(1), numbers({2, 2}, {1, 0, 1, 0}));
}

TEST_CASE("EltwiseLayer: gradients") {
  for (const Eltwise operation : {Eltwise::Sum, Eltwise::Prod, Eltwise::Max}) {
    check_gradients_of(eltwise({.operation = operation}), {Shape{2, 3, 4}, Shape{2, 3, 4}});
    check_gradients_of(eltwise_of_three({.operation = operation}), {Shape{3, 5}, Shape{3, 5}, Shape{3, 5}});
  }
  check_gradients_of(eltwise({.coeff = {0.5, -2}}), {Shape{2, 3, 4}, Shape{2, 3, 4}});
  for (const double slope : {0.0, 0.25}) {
    check_gradients_of(eltwise({.coeff = {-1, 2}}), {Shape{2, 3, 4}, Shape{2, 3, 4}}, {.fuse = FusedReLU{slope}});
    check_gradients_of(eltwise({.operation = Eltwise::Prod}), {Shape{9}, Shape{9}}, {.fuse = FusedReLU{slope}});
    check_gradients_of(eltwise({.operation = Eltwise::Max}), {Shape{9}, Shape{9}}, {.fuse = FusedReLU{slope}});
  }
  // 0 is a factor like any other.
  check_gradients_of(eltwise_of_three({.operation = Eltwise::Prod}), {a, b, c});
}

TEST_CASE("EltwiseLayer: messages") {
  CHECK(refusal(EltwiseLayer{"one", {"a"}}, {{2, 3}}) == "expects two or more inputs, not 1");
  CHECK(refusal(eltwise(), {{2, 3}, {3, 2}}) == "inputs must have one shape: input 1 is [3, 2] and input 0 is [2, 3]");
  CHECK(refusal(eltwise({.coeff = {1, 2, 3}}), {{2}, {2}}) == "option .coeff holds 3 numbers for 2 inputs");
  CHECK(
      refusal(eltwise({.operation = Eltwise::Prod, .coeff = {1, 2}}), {{2}, {2}}) ==
      "option .coeff is for Eltwise::Sum only");
}
