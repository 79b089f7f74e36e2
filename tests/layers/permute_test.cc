#include "sparknet/layers/permute.h"

#include <algorithm>

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam permute(std::vector<Dim> order) {
  return PermuteLayer{"turned", {"x"}, {.order = std::move(order)}};
}

/// Every element by its index, one by one.
Tensor permuted(const Tensor& x, const std::vector<Dim>& order) {
  Shape shape;
  for (const Dim axis : order) shape.push_back(x.shape()[static_cast<std::size_t>(axis)]);
  Tensor y(shape, DType::F64);
  for (Dim i = 0; i < y.count(); ++i) {
    Dim rest = i, at = 0;
    for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d])
      at += rest % shape[d] * x.shape().count(static_cast<std::size_t>(order[d]) + 1);
    y.span<double>()[static_cast<std::size_t>(i)] = x.span<double>()[static_cast<std::size_t>(at)];
  }
  return y;
}

}  // namespace

TEST_CASE("PermuteLayer: description") {
  check_description<PermuteLayer>();
  CHECK(permute({1, 0}) == permute({1, 0}));
  CHECK(permute({1, 0}) != permute({0, 1}));
  CHECK(permute({}).options_text() == "");
  CHECK(permute({0, 2, 3, 1}).options_text() == "{.order = {0, 2, 3, 1}}");
}

TEST_CASE("PermuteLayer: shapes") {
  CHECK(shape_of(permute({0, 2, 3, 1}), {{2, 3, 4, 5}}) == Shape{2, 4, 5, 3});
  CHECK(shape_of(permute({0, -2, -1, 1}), {{2, 3, 4, 5}}) == Shape{2, 4, 5, 3});
  CHECK(shape_of(permute({2}), {{2, 3, 4, 5}}) == Shape{4, 2, 3, 5});
  CHECK(shape_of(permute({3, 1}), {{2, 3, 4, 5}}) == Shape{5, 3, 2, 4});
  CHECK(shape_of(permute({}), {{2, 3}}) == Shape{2, 3});
  CHECK(shape_of(permute({}), {{}}) == Shape{});
}

TEST_CASE("PermuteLayer: hand-made cases") {
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions options{.dtype = dtype};
    check_equal(
        top_of(permute({1, 0}), {counting({2, 3})}, {}, options),
        numbers({3, 2}, {0, 3, 1, 4, 2, 5}).cast(dtype));
    check_equal(
        top_of(permute({0, 2, 1}), {counting({2, 2, 2})}, {}, options),
        numbers({2, 2, 2}, {0, 2, 1, 3, 4, 6, 5, 7}).cast(dtype));
    check_equal(
        gradient_of(permute({1, 0}), {counting({2, 3})}, counting({3, 2}, dtype)),
        numbers({2, 3}, {0, 2, 4, 1, 3, 5}).cast(dtype));
  }
}

TEST_CASE("PermuteLayer: every order of four axes, forward and back") {
  for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{1, 3, 1, 40}, Shape{2, 35, 3, 33}}) {
    const Tensor x = counting(shape);
    std::vector<Dim> order = {0, 1, 2, 3};
    do {
      const Tensor y = permuted(x, order);
      check_equal(top_of(permute(order), {x}), y);
      check_equal(gradient_of(permute(order), {x}, y), x);
    } while (std::ranges::next_permutation(order).found);
  }
}

TEST_CASE("PermuteLayer: gradients") {
  check_allocates_nothing(permute({0, 2, 1}), {{20, 30, 80}});
  check_gradients_of(permute({0, 2, 3, 1}), {Shape{2, 3, 2, 4}});
  check_gradients_of(permute({2, 0}), {Shape{2, 3, 4}});
  check_gradients_of(permute({}), {Shape{2, 3}});
  check_gradients_within_net(net_around(permute({0, 1})));
  CHECK_FALSE(runs_in_place(permute({1, 0}), {{2, 3}}));
  CHECK(runs_in_place(permute({0, 1}), {{2, 3}}));
  CHECK(runs_in_place(permute({0, 2, 3, 1}), {{2, 1, 3, 4}}));  // one channel, first or last
  CHECK(net_runs_in_place(net_around(permute({}))));
}

TEST_CASE("PermuteLayer: messages") {
  CHECK(refusal(permute({0, 1, 2}), {{2, 3}}) == "option .order names 3 axes and its input has 2 dimensions");
  CHECK(refusal(permute({0, 2}), {{2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(refusal(permute({1, -1}), {{2, 3}}) == "option .order names axis 1 twice");
}
