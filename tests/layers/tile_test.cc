#include "sparknet/layers/tile.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam tile(TileOptions options) {
  return TileLayer{"tiled", {"x"}, options};
}

}  // namespace

TEST_CASE("TileLayer: description") {
  check_description<TileLayer>();
  CHECK(tile({.tiles = 2}) == tile({.axis = 1, .tiles = 2}));
  CHECK(tile({.tiles = 2}) != tile({.tiles = 3}));
  CHECK(tile({}).options_text() == "");
  CHECK(tile({.axis = 0, .tiles = 2}).options_text() == "{.axis = 0, .tiles = 2}");
}

TEST_CASE("TileLayer: shapes") {
  CHECK(shape_of(tile({.tiles = 3}), {{2, 3, 4}}) == Shape{2, 9, 4});
  CHECK(shape_of(tile({.axis = 0, .tiles = 2}), {{2, 3}}) == Shape{4, 3});
  CHECK(shape_of(tile({.axis = -1, .tiles = 2}), {{2, 3, 4}}) == Shape{2, 3, 8});
  CHECK(shape_of(tile({.tiles = 1}), {{2, 3}}) == Shape{2, 3});
}

TEST_CASE("TileLayer: hand-made cases") {
  const Tensor x = counting({2, 2});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions options{.dtype = dtype};
    const auto expected = [&](const Shape& shape, std::initializer_list<double> values) {
      return numbers(shape, values).cast(dtype);
    };
    check_equal(top_of(tile({.tiles = 2}), {x}, {}, options), expected({2, 4}, {0, 1, 0, 1, 2, 3, 2, 3}));
    check_equal(top_of(tile({.axis = 0, .tiles = 2}), {x}, {}, options), expected({4, 2}, {0, 1, 2, 3, 0, 1, 2, 3}));
    check_equal(
        top_of(tile({.tiles = 3}), {counting({2, 1, 2})}, {}, options),
        expected({2, 3, 2}, {0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3}));
    check_equal(top_of(tile({.tiles = 3}), {counting({2, 1})}, {}, options), expected({2, 3}, {0, 0, 0, 1, 1, 1}));
    check_equal(
        gradient_of(tile({.tiles = 2}), {x}, expected({2, 4}, {1, 2, 30, 40, 5, 6, 70, 80})),
        expected({2, 2}, {31, 42, 75, 86}));
    check_equal(
        gradient_of(tile({.axis = 0, .tiles = 2}), {x}, expected({4, 2}, {1, 2, 30, 40, 5, 6, 70, 80})),
        expected({2, 2}, {6, 8, 100, 120}));
    check_equal(
        gradient_of(tile({.tiles = 3}), {counting({2, 1})}, expected({2, 3}, {1, 2, 3, 10, 20, 30})),
        expected({2, 1}, {6, 60}));
    check_equal(gradient_of(tile({.tiles = 1}), {x}, expected({2, 2}, {1, 2, 3, 4})), expected({2, 2}, {1, 2, 3, 4}));
  }
}

TEST_CASE("TileLayer: gradients") {
  check_allocates_nothing(tile({.tiles = 2}), {{20, 30, 80}});
  check_gradients_of(tile({.tiles = 3}), {Shape{2, 3, 4}});
  check_gradients_of(tile({.axis = 0, .tiles = 2}), {Shape{3, 5}});
  check_gradients_of(tile({.axis = -1, .tiles = 4}), {Shape{2, 3, 1}});
  check_gradients_of(tile({.tiles = 1}), {Shape{2, 3}});
  check_gradients_within_net(net_around(tile({.tiles = 2})));
  CHECK_FALSE(runs_in_place(tile({.tiles = 2}), {{2, 3}}));
  CHECK(runs_in_place(tile({.tiles = 1}), {{2, 3}}));
}

TEST_CASE("TileLayer: messages") {
  CHECK(refusal(tile({}), {{2, 3}}) == "option .tiles is required");
  CHECK(refusal(tile({.tiles = -1}), {{2, 3}}) == "option .tiles must be positive, not -1");
  CHECK(refusal(tile({.tiles = 2}), {{2}}) == "there is no axis 1 in its input of 1 dimensions");
  CHECK(
      refusal(tile({.tiles = Dim{1} << 62}), {{2, 4}}) ==
      "option .tiles is 4611686018427387904, which is too much for its input");
}
