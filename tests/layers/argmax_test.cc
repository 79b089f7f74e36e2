#include "sparknet/layers/argmax.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam argmax(ArgMaxOptions options = {}) {
  return ArgMaxLayer{"best", {"x"}, options};
}

}  // namespace

TEST_CASE("ArgMaxLayer: description") {
  check_description<ArgMaxLayer>();
  CHECK(argmax() == argmax({.top_k = 1}));
  CHECK(argmax() != argmax({.axis = 1}));
  CHECK(argmax().options_text() == "");
  CHECK(
      argmax({.out_max_val = true, .top_k = 5, .axis = -1}).options_text() ==
      "{.out_max_val = true, .top_k = 5, .axis = -1}");
}

TEST_CASE("ArgMaxLayer: shapes") {
  CHECK(shape_of(argmax(), {{8, 10}}) == Shape{8, 1, 1});
  CHECK(shape_of(argmax({.top_k = 5}), {{8, 3, 4, 4}}) == Shape{8, 1, 5, 1});
  CHECK(shape_of(argmax({.out_max_val = true}), {{8, 3, 4, 4, 2}}) == Shape{8, 2, 1, 1, 1});
  CHECK(shape_of(argmax({.out_max_val = true, .top_k = 5}), {{8, 10}}) == Shape{8, 2, 5});
  CHECK(shape_of(argmax({.top_k = 2, .axis = 1}), {{8, 3, 4, 4}}) == Shape{8, 2, 4, 4});
  CHECK(shape_of(argmax({.out_max_val = true, .axis = -1}), {{8, 3, 4, 5}}) == Shape{8, 3, 4, 1});
  CHECK(shape_of(argmax({.axis = 0}), {{8}}) == Shape{1});
}

TEST_CASE("ArgMaxLayer: hand-made cases") {
  const Tensor x = numbers({2, 2, 2}, {1, 4, 3, 2, -1, -4, -3, -2});
  check_equal(top_of(argmax(), {x}), numbers({2, 1, 1}, {1, 0}));
  check_equal(top_of(argmax({.top_k = 3}), {x}), numbers({2, 1, 3}, {1, 2, 3, 0, 3, 2}));
  check_equal(top_of(argmax({.out_max_val = true, .top_k = 2}), {x}), numbers({2, 2, 2}, {1, 2, 4, 3, 0, 3, -1, -2}));
  check_equal(top_of(argmax({.axis = 1}), {x}), numbers({2, 1, 2}, {1, 0, 0, 1}));
  check_equal(top_of(argmax({.out_max_val = true, .axis = 1}), {x}), numbers({2, 1, 2}, {3, 4, -1, -2}));
  check_equal(top_of(argmax({.top_k = 2, .axis = 1}), {x}), numbers({2, 2, 2}, {1, 0, 0, 1, 0, 1, 1, 0}));
  check_equal(
      top_of(argmax({.out_max_val = true, .top_k = 2, .axis = -1}), {x}),
      numbers({2, 2, 2}, {4, 1, 3, 2, -1, -4, -2, -3}));
  check_equal(top_of(argmax({.axis = 0}), {x}), numbers({1, 2, 2}, {0, 0, 0, 0}));
  check_equal(
      top_of(argmax(), {x}, {}, {.dtype = DType::F32, .phase = Phase::Test}),
      numbers({2, 1, 1}, {1, 0}).cast(DType::F32));
}

TEST_CASE("ArgMaxLayer: of equal numbers the last comes first, and NaN before all") {
  const Tensor tied = numbers({1, 4}, {2, 1, 2, 2});
  check_equal(top_of(argmax(), {tied}), numbers({1, 1, 1}, {3}));
  check_equal(top_of(argmax({.top_k = 4}), {tied}), numbers({1, 1, 4}, {3, 2, 0, 1}));
  const Tensor nan = numbers({1, 4}, {2, NAN, NAN, INFINITY});
  check_equal(top_of(argmax(), {nan}), numbers({1, 1, 1}, {2}));
  check_equal(top_of(argmax({.top_k = 3}), {nan}), numbers({1, 1, 3}, {2, 1, 3}));
}

TEST_CASE("ArgMaxLayer: no gradient flows") {
  const SoloLayer solo(argmax(), {{4, 5}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{0});
  check_gradients_of(argmax(), {Shape{4, 5}});
}

TEST_CASE("ArgMaxLayer: messages") {
  CHECK(refusal(argmax({.top_k = 0}), {{4, 5}}) == "option .top_k must be positive, not 0");
  CHECK(refusal(argmax({.top_k = 11}), {{4, 2, 5}}) == "option .top_k is 11 and an example has 10 numbers");
  CHECK(
      refusal(argmax({.top_k = 6, .axis = -1}), {{4, 2, 5}}) ==
      "option .top_k is 6 and there are 5 numbers along axis 2");
  CHECK(refusal(argmax({.axis = 3}), {{4, 2, 5}}) == "there is no axis 3 in its input of 3 dimensions");
  CHECK(refusal(argmax(), {Shape{}}) == "expects one or more dimensions");
}
