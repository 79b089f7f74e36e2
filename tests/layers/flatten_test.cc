#include "sparknet/layers/flatten.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam flatten(FlattenOptions options = {}) {
  return FlattenLayer{"flat", {"x"}, options};
}

}  // namespace

TEST_CASE("FlattenLayer: description") {
  check_description<FlattenLayer>();
  CHECK(FlattenLayer{"flat", {"x"}} == FlattenLayer{"flat", {"x"}, {.axis = 1, .end_axis = -1}});
  CHECK(flatten() != flatten({.axis = 0}));
  CHECK(flatten().options_text() == "");
  CHECK(flatten({.axis = 2, .end_axis = -2}).options_text() == "{.axis = 2, .end_axis = -2}");
}

TEST_CASE("FlattenLayer: shapes") {
  CHECK(shape_of(flatten(), {{2, 3, 4, 5}}) == Shape{2, 60});
  CHECK(shape_of(flatten(), {{2, 3}}) == Shape{2, 3});
  CHECK(shape_of(flatten({.axis = 0}), {{2, 3, 4, 5}}) == Shape{120});
  CHECK(shape_of(flatten({.axis = 2}), {{2, 3, 4, 5}}) == Shape{2, 3, 20});
  CHECK(shape_of(flatten({.axis = 0, .end_axis = -2}), {{2, 3, 4, 5}}) == Shape{24, 5});
  CHECK(shape_of(flatten({.axis = -3, .end_axis = 2}), {{2, 3, 4, 5}}) == Shape{2, 12, 5});
  CHECK(shape_of(flatten({.axis = 2, .end_axis = 2}), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
  CHECK(shape_of(flatten({.axis = 2, .end_axis = 1}), {{2, 3, 4, 5}}) == Shape{2, 3, 1, 4, 5});
}

TEST_CASE("FlattenLayer: the elements stay in their order") {
  for (const DType dtype : {DType::F32, DType::F64})
    for (const bool in_place : {false, true}) {
      const Tensor top = top_of(flatten(), {counting({2, 3, 2})}, {}, {.dtype = dtype, .in_place = in_place});
      check_equal(top, counting({2, 6}, dtype));
    }
  check_equal(gradient_of(flatten(), {counting({2, 3, 2})}, counting({2, 6})), counting({2, 3, 2}));
}

TEST_CASE("FlattenLayer: gradients, in a net that runs it in place too") {
  check_allocates_nothing(flatten(), {{20, 30, 80}});
  check_gradients_of(flatten(), {Shape{2, 3, 4}});
  check_gradients_of(flatten({.axis = 0, .end_axis = 1}), {Shape{2, 3, 4}});
  check_gradients_within_net(net_around(flatten({.axis = 0, .end_axis = 0})));
  CHECK(runs_in_place(flatten(), {{2, 3, 4}}));
  CHECK(net_runs_in_place(net_around(flatten())));
}

TEST_CASE("FlattenLayer: messages") {
  CHECK(refusal(flatten(), {{2}}) == "there is no axis 1 in its input of 1 dimensions");
  CHECK(refusal(flatten({.end_axis = 4}), {{2, 3, 4, 5}}) == "there is no axis 4 in its input of 4 dimensions");
  CHECK(
      refusal(flatten({.axis = 2, .end_axis = 0}), {{2, 3, 4, 5}}) ==
      "option .end_axis names axis 0, which lies before axis 2, that of option .axis");
  CHECK(
      refusal(flatten({.axis = 2, .end_axis = 1}), {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}) ==
      "its top would have 13 dimensions and may have at most 12");
}
