#include "sparknet/layers/concat.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam concat(Dim axis = 1) {
  return ConcatLayer{"both", {"a", "b"}, {.axis = axis}};
}

}  // namespace

TEST_CASE("ConcatLayer: description") {
  check_description<ConcatLayer>();
  CHECK(ConcatLayer{"both", {"a", "b"}} == ConcatLayer{"both", {"a", "b"}, {.axis = 1}});
  CHECK(concat() != concat(0));
  CHECK(concat().options_text() == "");
  CHECK(concat(-1).options_text() == "{.axis = -1}");
}

TEST_CASE("ConcatLayer: shapes") {
  CHECK(shape_of(concat(), {{2, 3, 5, 5}, {2, 4, 5, 5}, {2, 1, 5, 5}}) == Shape{2, 8, 5, 5});
  CHECK(shape_of(concat(0), {{2, 3}, {1, 3}}) == Shape{3, 3});
  CHECK(shape_of(concat(-1), {{2, 3}, {2, 1}}) == Shape{2, 4});
  CHECK(shape_of(concat(), {{2, 3}}) == Shape{2, 3});
}

TEST_CASE("ConcatLayer: hand-made cases") {
  const Tensor a = numbers({2, 1, 2}, {1, 2, 3, 4}), b = numbers({2, 2, 2}, {5, 6, 7, 8, 9, 10, 11, 12});
  check_equal(top_of(concat(), {a, b}), numbers({2, 3, 2}, {1, 2, 5, 6, 7, 8, 3, 4, 9, 10, 11, 12}));
  check_equal(top_of(concat(0), {a, a}), numbers({4, 1, 2}, {1, 2, 3, 4, 1, 2, 3, 4}));
  check_equal(top_of(concat(2), {a, a}), numbers({2, 1, 4}, {1, 2, 1, 2, 3, 4, 3, 4}));
  check_equal(
      top_of(concat(0), {a, a}, {}, {.dtype = DType::F32}),
      numbers({4, 1, 2}, {1, 2, 3, 4, 1, 2, 3, 4}).cast(DType::F32));
}

TEST_CASE("ConcatLayer: gradients") {
  check_gradients_of(concat(), {Shape{2, 3, 2}, Shape{2, 1, 2}});
  check_gradients_of(concat(0), {Shape{2, 3}, Shape{4, 3}});
  check_gradients_of(concat(-1), {Shape{2, 3, 2}, Shape{2, 3, 4}});
  check_gradients_of(ConcatLayer{"one", {"a"}}, {Shape{2, 3}});
  check_gradients_of(ConcatLayer{"three", {"a", "b", "c"}}, {Shape{2, 1}, Shape{2, 2}, Shape{2, 3}});
}

TEST_CASE("ConcatLayer: messages") {
  CHECK(refusal(ConcatLayer{"none", AnyInputs(std::vector<std::string>())}, {}) == "expects one or more inputs");
  CHECK(refusal(concat(2), {{2, 3}, {2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(refusal(concat(), {{2, 3}, {2, 3, 1}}) == "input 1 has 3 dimensions and input 0 has 2");
  CHECK(
      refusal(concat(), {{2, 3, 5, 5}, {2, 4, 5, 5}, {2, 3, 4, 5}}) ==
      "inputs may differ along axis 1 only: input 2 is [2, 3, 4, 5] and input 0 is [2, 3, 5, 5]");
}
