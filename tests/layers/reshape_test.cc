#include "sparknet/layers/reshape.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam reshape(ReshapeOptions options) {
  return ReshapeLayer{"shaped", {"x"}, options};
}

}  // namespace

TEST_CASE("ReshapeLayer: description") {
  check_description<ReshapeLayer>();
  CHECK(reshape({.shape = {0, -1}}) == reshape({.shape = {0, -1}, .axis = 0, .num_axes = -1}));
  CHECK(reshape({.shape = {0, -1}}) != reshape({.shape = {0, 2}}));
  CHECK(reshape({}).options_text() == "");
  CHECK(
      reshape({.shape = {0, -1}, .axis = -2, .num_axes = 1}).options_text() ==
      "{.shape = {0, -1}, .axis = -2, .num_axes = 1}");
}

TEST_CASE("ReshapeLayer: shapes") {
  const auto top = [](ReshapeOptions options, const Shape& bottom) { return shape_of(reshape(options), {bottom}); };
  CHECK(top({.shape = {6, 4}}, {2, 3, 4}) == Shape{6, 4});
  CHECK(top({.shape = {0, 0, 0}}, {2, 3, 4}) == Shape{2, 3, 4});
  CHECK(top({.shape = {0, -1}}, {2, 3, 4}) == Shape{2, 12});
  CHECK(top({.shape = {0, 0, 2, -1}}, {2, 3, 4}) == Shape{2, 3, 2, 2});
  CHECK(top({.shape = {-1}}, {2, 3, 4}) == Shape{24});
  CHECK(top({.shape = {-1, 0}}, {2, 3}) == Shape{2, 3});
  CHECK(top({.shape = {-1, 1}}, {2, 3}) == Shape{6, 1});
  CHECK(top({}, {1, 1}) == Shape{});
  CHECK(top({.shape = {1}}, {}) == Shape{1});

  // A 0 counts from the place of .axis.
  CHECK(top({.shape = {0, 2, -1}, .axis = 1}, {2, 3, 8}) == Shape{2, 3, 2, 4});
  CHECK(top({.shape = {-1}, .axis = 1}, {2, 3, 4}) == Shape{2, 12});
  CHECK(top({.shape = {-1}, .num_axes = 2}, {2, 3, 4}) == Shape{6, 4});
  CHECK(top({.shape = {2, 2}, .axis = 1, .num_axes = 1}, {2, 4, 5}) == Shape{2, 2, 2, 5});
  CHECK(top({.shape = {2, 2}, .axis = -2}, {2, 3, 4}) == Shape{2, 3, 2, 2});
  CHECK(top({.axis = 1, .num_axes = 1}, {2, 1, 4}) == Shape{2, 4});
  // Axes of one element in front, between and behind.
  CHECK(top({.shape = {1}, .num_axes = 0}, {2, 3}) == Shape{1, 2, 3});
  CHECK(top({.shape = {1}, .axis = 1, .num_axes = 0}, {2, 3}) == Shape{2, 1, 3});
  CHECK(top({.shape = {1, 1}, .axis = -1, .num_axes = 0}, {2, 3}) == Shape{2, 3, 1, 1});
  CHECK(top({.shape = {1}, .axis = -1}, {2, 3}) == Shape{2, 3, 1});
  CHECK(top({.shape = {1}, .axis = -3, .num_axes = 0}, {2, 3}) == Shape{1, 2, 3});
}

TEST_CASE("ReshapeLayer: the elements stay in their order") {
  const LayerParam layer = reshape({.shape = {3, -1}});
  for (const DType dtype : {DType::F32, DType::F64})
    for (const bool in_place : {false, true})
      check_equal(
          top_of(layer, {counting({2, 3, 2})}, {}, {.dtype = dtype, .in_place = in_place}),
          counting({3, 4}, dtype));
  check_equal(gradient_of(layer, {counting({2, 3, 2})}, counting({3, 4})), counting({2, 3, 2}));
}

TEST_CASE("ReshapeLayer: gradients, in a net that runs it in place too") {
  check_allocates_nothing(reshape({.shape = {-1}}), {{20, 30, 80}});
  check_gradients_of(reshape({.shape = {4, -1}}), {Shape{2, 3, 4}});
  check_gradients_of(reshape({.shape = {0, 2, 2}, .axis = 1}), {Shape{2, 3, 4}});
  check_gradients_within_net(net_around(reshape({.shape = {0, 3, -1}})));
  CHECK(runs_in_place(reshape({.shape = {-1}}), {{2, 3, 4}}));
  CHECK(net_runs_in_place(net_around(reshape({.shape = {0, 3, -1}}))));
}

TEST_CASE("ReshapeLayer: messages") {
  const auto message = [](ReshapeOptions options) { return refusal(reshape(options), {{2, 3, 4}}); };
  CHECK(message({.axis = 4}) == "option .axis is 4 and must lie between -4 and 3 for an input of 3 dimensions");
  CHECK(message({.axis = -5}) == "option .axis is -5 and must lie between -4 and 3 for an input of 3 dimensions");
  CHECK(message({.num_axes = -2}) == "option .num_axes must be -1 or more, not -2");
  CHECK(
      message({.axis = 2, .num_axes = 2}) ==
      "option .num_axes is 2 and only 1 axes of its input lie behind the place of option .axis");
  CHECK(
      message({.shape = {2, -3}}) ==
      "option .shape has a dimension of -3; beside positive ones there may be 0 and one -1");
  CHECK(message({.shape = {-1, -1}}) == "option .shape has more than one dimension of -1");
  CHECK(
      message({.shape = {24, 1, 0, 0}}) ==
      "dimension 3 of option .shape is 0 for that of axis 3 of its input, which has 3 dimensions");
  CHECK(message({.shape = {5, -1}}) == "option .shape leaves the 24 elements of its input to be shared by 5");
  CHECK(
      message({.shape = {5, -1}, .axis = 1}) == "option .shape leaves the 24 elements of its input to be shared by 10");
  const Dim much = Dim{1} << 32;
  CHECK(message({.shape = {much, much, 24}}) == "option .shape has more elements than can be counted");
  CHECK(message({.shape = {5, 5}}) == "its top would be [5, 5], which has 25 elements and not 24");
  CHECK(
      message({.shape = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, .axis = -1}) ==
      "its top would have 13 dimensions and may have at most 12");
}
