#include "sparknet/shape.h"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparknet {
namespace {

TEST_CASE("a shape takes integers of any type") {
  const std::vector<int> batch(64);
  const Shape shape{batch.size(), 1, std::uint8_t{28}, 28L};
  CHECK(shape.size() == 4);
  CHECK(shape[0] == 64);
  CHECK(to_string(shape) == "[64, 1, 28, 28]");
  CHECK(std::vector<Dim>(shape.begin(), shape.end()) == std::vector<Dim>{64, 1, 28, 28});
}

TEST_CASE("a shape counts elements") {
  const Shape shape{2, 3, 4};
  CHECK(shape.count() == 24);
  CHECK(shape.count(1) == 12);
  CHECK(shape.count(0, 2) == 6);
  CHECK(shape.count(1, 1) == 1);
  CHECK(shape.count(3) == 1);
  CHECK(Shape{2, 0, 4}.count() == 0);
}

TEST_CASE("the shape of a scalar") {
  const Shape scalar;
  CHECK(scalar.empty());
  CHECK(scalar.count() == 1);
  CHECK(to_string(scalar) == "[]");
}

TEST_CASE("shapes are equal when all dimensions are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  CHECK(Shape{} != Shape{1});
}

TEST_CASE("a shape grows up to its limit") {
  const std::array<Dim, 2> dims{5, 6};
  Shape shape{std::span<const Dim>(dims)};
  CHECK(shape == Shape{5, 6});
  shape[1] = 7;
  while (shape.size() < Shape::max_rank) shape.push_back(1);
  CHECK(shape.count() == 35);
  CHECK_THROWS_WITH_AS(shape.push_back(1), "a shape holds at most 12 dimensions", ShapeError);
  const std::vector<Dim> many(13, 1);
  CHECK_THROWS_WITH_AS(Shape{std::span<const Dim>(many)}, "a shape holds at most 12 dimensions, not 13", ShapeError);
}

}  // namespace
}  // namespace sparknet
