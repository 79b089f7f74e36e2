#include "sparknet/layers/crop.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam crop(CropOptions options = {}) {
  return CropLayer{"part", {"x", "like"}, std::move(options)};
}

/// The part of a tensor from `lower` on, which the layer must yield; its gradient, of numbers 1, 2, ..., lies in zeros.
void check_crop(const CropOptions& options, const Shape& bottom, const Shape& like, const Shape& lower) {
  CAPTURE(crop(options).options_text());
  const Shape top = shape_of(crop(options), {bottom, like});
  Shape upper = lower;
  for (std::size_t d = 0; d < upper.size(); ++d) upper[d] += top[d];
  for (const DType dtype : {DType::F32, DType::F64}) {
    const Tensor x = counting(bottom, dtype);
    check_equal(top_of(crop(options), {x, Tensor(like)}, {}, {.dtype = dtype}), x.subarray(lower, upper).copy());
    const Tensor top_diff = counting(top, dtype).add(Tensor(top, dtype).fill(1));
    SoloLayer solo = ran(crop(options), {x, Tensor(like)}, {}, {.dtype = dtype});
    solo.io().top_diff().copy_from(top_diff);
    solo.io().bottom_diff().fill(7);
    solo.backward();
    Tensor expected(bottom, dtype);
    expected.subarray(lower, upper).copy_from(top_diff);
    check_equal(solo.io().bottom_diff(), expected);
  }
}

}  // namespace

TEST_CASE("CropLayer: description") {
  check_description<CropLayer>();
  CHECK(crop() == crop({.axis = 2, .offset = {}}));
  CHECK(crop() != crop({.offset = {1}}));
  CHECK(crop().options_text() == "");
  CHECK(crop({.axis = -2, .offset = {1, 2}}).options_text() == "{.axis = -2, .offset = {1, 2}}");
}

TEST_CASE("CropLayer: shapes") {
  CHECK(shape_of(crop(), {{2, 3, 8, 9}, {1, 1, 5, 6}}) == Shape{2, 3, 5, 6});
  CHECK(shape_of(crop({.offset = {3}}), {{2, 3, 8, 9}, {1, 1, 5, 6}}) == Shape{2, 3, 5, 6});
  CHECK(shape_of(crop({.axis = 1, .offset = {0, 3, 2}}), {{2, 3, 8, 9}, {7, 2, 5, 6}}) == Shape{2, 2, 5, 6});
  CHECK(shape_of(crop({.axis = -1}), {{2, 3, 8, 9}, {1, 1, 1, 4}}) == Shape{2, 3, 8, 4});
  CHECK(shape_of(crop({.axis = 0}), {{4, 5}, {2, 3}}) == Shape{2, 3});
  CHECK(shape_of(crop({.axis = 0}), {{4}, {2, 3}}) == Shape{2});
}

TEST_CASE("CropLayer: a hand-made case") {
  const Tensor x = counting({1, 1, 3, 4}), like({1, 5, 2, 2});
  check_equal(top_of(crop(), {x, like}), numbers({1, 1, 2, 2}, {0, 1, 4, 5}));
  check_equal(top_of(crop({.offset = {1}}), {x, like}), numbers({1, 1, 2, 2}, {5, 6, 9, 10}));
  check_equal(top_of(crop({.offset = {0, 2}}), {x, like}), numbers({1, 1, 2, 2}, {2, 3, 6, 7}));
}

TEST_CASE("CropLayer: the part is copied and its gradient lies in zeros") {
  check_crop({}, {2, 3, 5, 6}, {1, 1, 3, 4}, {0, 0, 0, 0});
  check_crop({.offset = {1}}, {2, 3, 5, 6}, {1, 1, 3, 4}, {0, 0, 1, 1});
  check_crop({.offset = {2, 0}}, {2, 3, 5, 6}, {1, 1, 3, 4}, {0, 0, 2, 0});
  check_crop({.axis = 0, .offset = {1, 0, 2, 3}}, {4, 3, 5, 6}, {2, 3, 2, 2}, {1, 0, 2, 3});
  check_crop({.axis = 1, .offset = {1}}, {2, 4, 5, 6}, {9, 2, 3, 4}, {0, 1, 1, 1});
  check_crop({.axis = -1, .offset = {3}}, {2, 3, 7}, {1, 1, 4}, {0, 0, 3});
  check_crop({.axis = 0, .offset = {2}}, {7}, {4}, {2});
  check_crop({.axis = 1, .offset = {1}}, {2, 3, 4, 3, 5}, {1, 2, 2, 2, 2}, {0, 1, 1, 1, 1});
  check_crop({}, {2, 3, 4, 5}, {1, 1, 4, 5}, {0, 0, 0, 0});
  check_crop({.offset = {5}}, {2, 3, 60, 70}, {1, 1, 50, 41}, {0, 0, 5, 5});
}

TEST_CASE("CropLayer: gradients") {
  check_allocates_nothing(crop({.offset = {3}}), {{2, 3, 90, 100}, {1, 1, 80, 70}});
  check_gradients_of(crop({.offset = {1}}), {Shape{2, 2, 3, 4}, Shape{1, 1, 2, 3}});
  check_gradients_of(crop({.axis = 0, .offset = {1, 2}}), {Shape{3, 4}, Shape{2, 2}});
  check_gradients_of(crop(), {Shape{2, 2, 3, 4}, Shape{1, 1, 3, 4}});
  const SoloLayer solo(crop(), {{2, 2, 3, 4}, {1, 1, 2, 2}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
  CHECK_FALSE(runs_in_place(crop(), {{2, 2, 3, 4}, {1, 1, 2, 2}}));
  CHECK(runs_in_place(crop(), {{2, 2, 3, 4}, {1, 1, 3, 4}}));
}

TEST_CASE("CropLayer: messages") {
  CHECK(refusal(crop(), {{2, 3}, {2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(
      refusal(crop(), {{2, 3, 4, 5}, {2, 3}}) ==
      "input 1, which has the size to crop to, has 2 dimensions and input 0 has 4");
  CHECK(
      refusal(crop({.offset = {1, 2, 3}}), {{2, 3, 4, 5}, {2, 3, 1, 1}}) ==
      "option .offset has 3 numbers and takes one, or one for each of the 2 axes from axis 2 on");
  CHECK(
      refusal(crop({.offset = {0, -1}}), {{2, 3, 4, 5}, {2, 3, 1, 1}}) ==
      "option .offset must not be negative, not -1");
  CHECK(
      refusal(crop({.offset = {1, 3}}), {{2, 3, 4, 5}, {2, 3, 3, 3}}) ==
      "axis 3 of input 0 is 5 long, which does not hold 3 from 3 on");
  CHECK(
      refusal(crop({.offset = {9}}), {{2, 3, 4, 5}, {2, 3, 3, 3}}) ==
      "axis 2 of input 0 is 4 long, which does not hold 3 from 9 on");
}
