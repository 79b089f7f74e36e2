#include "sparknet/layers/slice.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam slice(SliceOptions options = {}, std::vector<std::string> tops = {"a", "b"}) {
  return with(SliceLayer{"slice", {"x"}, std::move(options)}, {.top = std::move(tops)});
}

using Shapes = std::vector<Shape>;

}  // namespace

TEST_CASE("SliceLayer: description") {
  check_description<SliceLayer>();
  CHECK(SliceLayer{"slice", {"x"}} == SliceLayer{"slice", {"x"}, {.axis = 1, .slice_point = {}}});
  CHECK(slice() != slice({.slice_point = {1}}));
  CHECK(slice() != slice({}, {"a", "c"}));
  CHECK(slice().options_text() == "");
  CHECK(slice({.axis = -1, .slice_point = {1, 3}}).options_text() == "{.axis = -1, .slice_point = {1, 3}}");
}

TEST_CASE("SliceLayer: shapes") {
  CHECK(slice().infer(Shapes{{2, 6, 5}}) == Shapes{{2, 3, 5}, {2, 3, 5}});
  CHECK(slice({}, {"a", "b", "c"}).infer(Shapes{{2, 6, 5}}) == Shapes{{2, 2, 5}, {2, 2, 5}, {2, 2, 5}});
  CHECK(slice({.axis = 0}).infer(Shapes{{2, 6, 5}}) == Shapes{{1, 6, 5}, {1, 6, 5}});
  CHECK(slice({.slice_point = {1}}).infer(Shapes{{2, 6, 5}}) == Shapes{{2, 1, 5}, {2, 5, 5}});
  CHECK(
      slice({.axis = -1, .slice_point = {1, 3}}, {"a", "b", "c"}).infer(Shapes{{2, 6, 5}}) ==
      Shapes{{2, 6, 1}, {2, 6, 2}, {2, 6, 2}});
  CHECK(LayerParam(SliceLayer{"all", {"x"}}).infer(Shapes{{2, 6}}) == Shapes{{2, 6}});
}

TEST_CASE("SliceLayer: hand-made cases") {
  for (const DType dtype : {DType::F32, DType::F64}) {
    const auto expected = [&](const Shape& shape, std::initializer_list<double> values) {
      return numbers(shape, values).cast(dtype);
    };
    SoloLayer unequal = ran(slice({.slice_point = {1}}), {counting({2, 3, 2})}, {}, {.dtype = dtype});
    check_equal(unequal.io().top(0), expected({2, 1, 2}, {0, 1, 6, 7}));
    check_equal(unequal.io().top(1), expected({2, 2, 2}, {2, 3, 4, 5, 8, 9, 10, 11}));
    unequal.io().top_diff(0).copy_from(expected({2, 1, 2}, {-1, -2, -3, -4}));
    unequal.io().top_diff(1).copy_from(expected({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
    unequal.backward();
    check_equal(unequal.io().bottom_diff(), expected({2, 3, 2}, {-1, -2, 1, 2, 3, 4, -3, -4, 5, 6, 7, 8}));

    SoloLayer equal = ran(slice({.axis = 0}), {counting({2, 3})}, {}, {.dtype = dtype});
    check_equal(equal.io().top(0), expected({1, 3}, {0, 1, 2}));
    check_equal(equal.io().top(1), expected({1, 3}, {3, 4, 5}));
    SoloLayer last = ran(slice({.axis = -1, .slice_point = {2}}), {counting({2, 3})}, {}, {.dtype = dtype});
    check_equal(last.io().top(0), expected({2, 2}, {0, 1, 3, 4}));
    check_equal(last.io().top(1), expected({2, 1}, {2, 5}));
    check_equal(top_of(SliceLayer{"all", {"x"}}, {counting({2, 3})}, {}, {.dtype = dtype}), counting({2, 3}, dtype));
  }
}

TEST_CASE("SliceLayer: gradients") {
  check_allocates_nothing(slice(), {{20, 30, 80}});
  check_gradients_within_net(net_around_two_tops(slice({.slice_point = {5}})));
  check_gradients_of(slice(), {Shape{2, 4, 3}});
  check_gradients_of(slice({.axis = 0, .slice_point = {3}}), {Shape{4, 3}});
  check_gradients_of(slice({.axis = -1, .slice_point = {1, 2}}, {"a", "b", "c"}), {Shape{2, 3, 5}});
  check_gradients_of(SliceLayer{"all", {"x"}}, {Shape{2, 3}});
  check_gradients_within_net(net_around(SliceLayer{"all", {"x"}}));
  CHECK(runs_in_place(SliceLayer{"all", {"x"}}, {{2, 3}}));
  CHECK_FALSE(runs_in_place(slice(), {{2, 4}}));
}

TEST_CASE("SliceLayer: messages") {
  CHECK(refusal(slice(), {{2}}) == "there is no axis 1 in its input of 1 dimensions");
  CHECK(
      refusal(slice(), {{2, 3}}) ==
      "axis 1 of its input is 3 long, which cannot be cut into 2 equal tops; option .slice_point says where to cut");
  CHECK(
      refusal(slice({.slice_point = {1, 2}}), {{2, 3}}) ==
      "option .slice_point has 2 points, which make 3 tops, and the tops are 2");
  const auto message = [](std::vector<Dim> points) {
    return refusal(slice({.slice_point = std::move(points)}, {"a", "b", "c"}), {{2, 6}});
  };
  const std::string rise = "option .slice_point must rise between 0 and 6, the length of axis 1, and point ";
  CHECK(message({0, 2}) == rise + "0 is 0");
  CHECK(message({2, 2}) == rise + "1 is 2");
  CHECK(message({3, 1}) == rise + "1 is 1");
  CHECK(message({3, 6}) == rise + "1 is 6");
  CHECK(message({-1, 3}) == rise + "0 is -1");
}
