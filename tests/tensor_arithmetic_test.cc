#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "sparknet/tensor.h"
#include "tests/tensor_values.h"

namespace sparknet {
namespace {

using namespace testing;

TEST_CASE("fill converts its value") {
  CHECK(values<float>(Tensor({2}).fill(0.5)) == Floats{0.5, 0.5});
  CHECK(values<std::uint8_t>(Tensor({2}, DType::U8).fill(300)) == Bytes{255, 255});
  CHECK(values<std::uint8_t>(Tensor({1}, DType::U8).fill(std::nan(""))) == Bytes{0});
  CHECK(values<std::int32_t>(Tensor({1}, DType::I32).fill(-1e300)) == Ints{std::numeric_limits<std::int32_t>::min()});
  CHECK(values<float>(Tensor({1}).fill(1e300)) == Floats{infinity});
  CHECK(Tensor({0, 3}).fill(1).count() == 0);
}

TEST_CASE("cast converts elements") {
  const Tensor tensor = floats({-1, 0.5, 1.4f, 300, nan, infinity});
  CHECK(values<std::uint8_t>(tensor.cast(DType::U8)) == Bytes{0, 1, 1, 255, 0, 255});
  CHECK(values<std::int32_t>(tensor.cast(DType::I32)) == Ints{-1, 1, 1, 300, 0, 2147483647});
  CHECK(values<double>(floats({0.1f}).cast(DType::F64)) == std::vector<double>{0.1f});
  CHECK(values<std::uint8_t>(Tensor::from({3}, {-5, 5, 500}).cast(DType::U8)) == Bytes{0, 5, 255});
  const Tensor same = tensor.cast(DType::F32);
  CHECK(same.raw() != tensor.raw());
  CHECK(counting({2, 3}).slice(1, 2).cast(DType::F64) == Tensor::from({2}, {2.0, 5.0}));
}

TEST_CASE("copy_from takes strides on both sides") {
  Tensor target({2, 3});
  target.slice(1, 1).copy_from(counting({3, 2}).slice(0, 1));
  CHECK(values<float>(target) == Floats{0, 2, 0, 0, 3, 0});
  CHECK_THROWS_WITH_AS(
      target.copy_from(Tensor({3, 2})),
      "cannot copy a tensor of shape [3, 2] to one of [2, 3]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      target.copy_from(Tensor({2, 3}, DType::U8)),
      "cannot copy a u8 tensor to one of f32; cast() it first",
      DTypeError);
}

TEST_CASE("sums and differences") {
  Tensor a = counting({2, 2});
  const Tensor b = Tensor::from<float>({2, 2}, {10, 20, 30, 40});
  CHECK(values<float>(a + b) == Floats{10, 21, 32, 43});
  CHECK(plus(a, b) == a + b);
  CHECK(values<float>(b - a) == Floats{10, 19, 28, 37});
  CHECK(values<float>(a.add(b).subtract(Tensor({2, 2}).fill(1))) == Floats{9, 20, 31, 42});
  CHECK(values<float>(a / 2) == Floats{4.5, 10, 15.5, 21});
  CHECK(values<float>(a * 2) == Floats{18, 40, 62, 84});
  CHECK(values<float>(a) == Floats{9, 20, 31, 42});
  CHECK(values<float>(a.multiply(0)) == Floats{0, 0, 0, 0});
  CHECK(Tensor(Shape{}).fill(1).add(Tensor(Shape{}).fill(2)).get<float>() == 3);
  CHECK((Tensor({0, 2}) + Tensor({0, 2})).shape() == Shape{0, 2});
}

TEST_CASE("arithmetic on tensors that do not fit") {
  Tensor a({3, 2});
  const Tensor b({2, 3}), c({3, 2}, DType::F64);
  CHECK_THROWS_WITH_AS(a.add(b), "cannot add a tensor of shape [2, 3] to one of [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(plus(a, b), "cannot add a tensor of shape [2, 3] to one of [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(a + b, "cannot add a tensor of shape [2, 3] to one of [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(a.subtract(b), "cannot subtract a tensor of shape [2, 3] from one of [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(a - b, "cannot subtract a tensor of shape [2, 3] from one of [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(a.add(c), "cannot add a f64 tensor to one of f32; cast() it first", DTypeError);
  CHECK_THROWS_WITH_AS(
      a.subtract(Tensor({3, 2}, DType::I32)),
      "cannot subtract an i32 tensor from one of f32; cast() it first",
      DTypeError);
}

TEST_CASE("integers saturate") {
  const auto low = std::numeric_limits<std::int32_t>::min(), high = std::numeric_limits<std::int32_t>::max();
  const Tensor a = Tensor::from<std::uint8_t>({4}, {0, 100, 200, 255});
  const Tensor b = Tensor::from<std::uint8_t>({4}, {1, 100, 100, 255});
  CHECK(values<std::uint8_t>(a + b) == Bytes{1, 200, 255, 255});
  CHECK(values<std::uint8_t>(a - b) == Bytes{0, 0, 100, 0});
  CHECK(values<std::uint8_t>(a * 2.6) == Bytes{0, 255, 255, 255});
  CHECK(values<std::uint8_t>(a * 0.005) == Bytes{0, 1, 1, 1});
  CHECK(values<std::uint8_t>(a * -1) == Bytes{0, 0, 0, 0});
  CHECK(values<std::uint8_t>(a / 3) == Bytes{0, 33, 66, 85});
  const Tensor c = Tensor::from<std::int32_t>({6}, {low, low, high, high, -7, 7});
  const Tensor d = Tensor::from<std::int32_t>({6}, {-1, 1, 1, -1, 3, high});
  CHECK(values<std::int32_t>(c + d) == Ints{low, low + 1, high, high - 1, -4, high});
  CHECK(values<std::int32_t>(c - d) == Ints{low + 1, low, high - 1, high, -10, 7 - high});
  CHECK(values<std::int32_t>(c / 2) == Ints{low / 2, low / 2, high / 2, high / 2, -3, 3});
  CHECK(values<std::int32_t>(c / -1) == Ints{high, high, -high, -high, 7, -7});
  CHECK(values<std::int32_t>(c / 1e-300) == Ints{low, low, high, high, low, high});
  CHECK(values<std::int32_t>(c * 1e300) == Ints{low, low, high, high, low, high});
  CHECK(values<std::int32_t>(c * std::nan("")) == Ints{0, 0, 0, 0, 0, 0});
  CHECK(values<std::int32_t>(c / std::nan("")) == Ints{0, 0, 0, 0, 0, 0});
  CHECK(values<std::int32_t>(Tensor(c).subarray({4}, {6}) * 0.5) == Ints{-4, 4});
}

TEST_CASE("integer sums are those of 64 bits, bounded") {
  std::mt19937 random(2);
  Tensor a({1000}, DType::I32), b({1000}, DType::I32);
  for (auto& x : a.span<std::int32_t>()) x = static_cast<std::int32_t>(random());
  for (auto& x : b.span<std::int32_t>()) x = static_cast<std::int32_t>(random());
  const Ints x = values<std::int32_t>(a), y = values<std::int32_t>(b);
  const Ints sum = values<std::int32_t>(a + b), difference = values<std::int32_t>(a - b);
  const auto bounded = [](Dim value) {
    return static_cast<std::int32_t>(std::clamp<Dim>(value, INT32_MIN, INT32_MAX));
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(sum[i] == bounded(Dim{x[i]} + y[i]));
    CHECK(difference[i] == bounded(Dim{x[i]} - y[i]));
  }
}

TEST_CASE("division by zero") {
  CHECK_THROWS_WITH_AS(Tensor({2, 3}, DType::I32).divide(0), "cannot divide an i32 tensor of shape [2, 3] by 0", Error);
  CHECK_THROWS_WITH_AS(Tensor({2}, DType::U8) / -0.0, "cannot divide a u8 tensor of shape [2] by 0", Error);
  const Tensor quotient = floats({1, -1, 0}) / 0;
  CHECK(quotient.get<float>(0) == infinity);
  CHECK(quotient.get<float>(1) == -infinity);
  CHECK(std::isnan(quotient.get<float>(2)));
  CHECK(values<float>(floats({1}) / 1e300) == Floats{0});
  CHECK(values<float>(floats({1}) * 1e300) == Floats{infinity});
}

TEST_CASE("a tensor may be its own operand") {
  Tensor a = counting({2, 3});
  CHECK(values<float>(a.add(a)) == Floats{0, 2, 4, 6, 8, 10});
  CHECK(values<float>(a.copy_from(a)) == Floats{0, 2, 4, 6, 8, 10});
  Tensor column = a.slice(1, 1);
  column.add(a.slice(1, 1));
  CHECK(values<float>(a) == Floats{0, 4, 4, 6, 16, 10});
  CHECK(values<float>(a.subtract(a)) == Floats(6, 0.0f));
}

TEST_CASE("operands that overlap act as if copied first") {
  Tensor a = counting({6});
  a.subarray({1}, {6}).copy_from(a.subarray({0}, {5}));
  CHECK(values<float>(a) == Floats{0, 0, 1, 2, 3, 4});
  a = counting({6});
  a.subarray({0}, {5}).copy_from(a.subarray({1}, {6}));
  CHECK(values<float>(a) == Floats{1, 2, 3, 4, 5, 5});
  a = counting({6});
  a.subarray({1}, {6}).add(a.subarray({0}, {5}));
  CHECK(values<float>(a) == Floats{0, 1, 3, 5, 7, 9});
  a = counting({6});
  a.subarray({1}, {6}).subtract(a.subarray({0}, {5}));
  CHECK(values<float>(a) == Floats{0, 1, 1, 1, 1, 1});
  a = counting({6});
  a.subarray({2}, {5}).copy_from(a.subarray({0}, {3}));  // one element in common
  CHECK(values<float>(a) == Floats{0, 1, 0, 1, 2, 5});
  Tensor square = counting({3, 3});
  square.slice(0, 1).copy_from(square.slice(1, 1));
  CHECK(values<float>(square) == Floats{0, 1, 2, 1, 4, 7, 6, 7, 8});
  Tensor columns = counting({2, 2});
  columns.slice(1, 0).add(columns.slice(1, 1));
  CHECK(values<float>(columns) == Floats{1, 1, 5, 3});
}

TEST_CASE("equality") {
  const Tensor a = floats({1, 2, infinity});
  CHECK(a == a);
  CHECK(a == a.copy());
  CHECK_FALSE(a == floats({1, 2, 3}));
  CHECK_FALSE(a == floats({1, 2}));
  CHECK_FALSE(a == a.cast(DType::F64));
  CHECK_FALSE(a == a.reshape({3, 1}));
  CHECK(equal(floats({1, 2}), floats({1.25f, 1.75f}), 0.25));
  CHECK_FALSE(equal(floats({1, 2}), floats({1.25f, 1.5f}), 0.25));
  CHECK(equal(a, a.copy(), 0.1));
  CHECK_FALSE(equal(floats({infinity}), floats({-infinity}), 1e9));
  CHECK_FALSE(floats({nan}) == floats({nan}));
  CHECK_FALSE(equal(floats({nan}), floats({nan}), 1e9));
  CHECK_FALSE(equal(floats({1}), floats({2}), std::nan("")));
  CHECK(equal(floats({1}), floats({1}), -1));
  CHECK(floats({0.0f}) == floats({-0.0f}));
  CHECK(equal(Tensor::from({1}, {INT32_MIN}), Tensor::from({1}, {INT32_MAX}), 4294967295.0));
  CHECK_FALSE(equal(Tensor::from({1}, {INT32_MIN}), Tensor::from({1}, {INT32_MAX}), 4294967294.0));
  for (const Dim place : {0, 1023, 1024, 2999}) {
    Tensor b({3000});
    b.set<float>(1, place);
    CHECK_FALSE(b == Tensor({3000}));
    CHECK(equal(b, Tensor({3000}), 1));
  }
  CHECK(counting({3, 3}).slice(1, 1) == floats({1, 4, 7}));
  CHECK_FALSE(counting({3, 3}).slice(1, 1) == floats({1, 4, 8}));
}

// A view of a base tensor, and the places of its elements in the base as a plain list.
struct RandomView {
  Tensor view;
  std::vector<std::size_t> places;
};

// Takes slices and boxes at random; `places` follows by enumerating all elements.
RandomView random_view(const Tensor& base, std::mt19937& random) {
  const auto below = [&](Dim n) { return static_cast<Dim>(random() % static_cast<std::uint64_t>(n)); };
  RandomView result{base, {}};
  for (Dim i = 0; i < base.count(); ++i) result.places.push_back(static_cast<std::size_t>(i));
  for (Dim steps = below(4); steps > 0; --steps) {
    const Shape shape = result.view.shape();
    Shape lower = shape, upper = shape;
    const bool slices = !shape.empty() && below(2) == 0;
    const auto axis = shape.empty() ? 0 : static_cast<std::size_t>(below(static_cast<Dim>(shape.size())));
    if (slices && shape[axis] == 0) continue;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      lower[i] = slices ? 0 : below(std::min<Dim>(shape[i], 2) + 1);
      upper[i] = slices ? shape[i] : shape[i] - below(std::min<Dim>(shape[i] - lower[i], 2) + 1);
    }
    if (slices) {
      lower[axis] = below(shape[axis]);
      upper[axis] = lower[axis] + 1;
    }
    result.view = slices ? result.view.slice(axis, lower[axis]) : result.view.subarray(lower, upper);
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < result.places.size(); ++i) {
      bool inside = true;
      Dim rest = static_cast<Dim>(i);
      for (std::size_t a = shape.size(); a-- > 0; rest /= shape[a])
        inside = inside && lower[a] <= rest % shape[a] && rest % shape[a] < upper[a];
      if (inside) kept.push_back(result.places[i]);
    }
    result.places = kept;
  }
  return result;
}

TEST_CASE("strided operations agree with loops over single elements") {
  std::mt19937 random(3);
  int strided = 0;
  for (int round = 0; round < 2000; ++round) {
    Shape shape;
    for (auto rank = random() % 5; rank > 0; --rank) shape.push_back(1 + static_cast<Dim>(random() % 6));
    Tensor base(shape, DType::I32), other_base(shape, DType::I32);
    for (auto& x : base.span<std::int32_t>()) x = static_cast<std::int32_t>(random() % 2001) - 1000;
    for (auto& x : other_base.span<std::int32_t>()) x = static_cast<std::int32_t>(random() % 2001) - 1000;
    RandomView a = random_view(base, random);
    strided += a.view.is_contiguous() ? 0 : 1;

    Ints expected = values<std::int32_t>(base);
    Ints elements;
    for (const std::size_t place : a.places) elements.push_back(expected[place]);
    REQUIRE(a.view.count() == static_cast<Dim>(elements.size()));
    const Tensor dense = Tensor::from(a.view.shape(), elements);
    REQUIRE(a.view.copy() == dense);
    REQUIRE(a.view == dense);
    REQUIRE(a.view.flatten() == dense.flatten());
    REQUIRE(a.view.cast(DType::F64).cast(DType::I32) == dense);
    REQUIRE(values<std::int32_t>(a.view + dense) == values<std::int32_t>(dense * 2));
    REQUIRE(values<std::int32_t>(dense - a.view) == Ints(elements.size(), 0));

    // A box of the same shape elsewhere, so that both sides have strides.
    const Shape wide = [&] {
      Shape s = a.view.shape();
      for (std::size_t i = 0; i < s.size(); ++i) s[i] += static_cast<Dim>(random() % 3);
      return s;
    }();
    Shape lower = a.view.shape(), upper = a.view.shape();
    for (std::size_t i = 0; i < wide.size(); ++i) {
      lower[i] = wide[i] - a.view.shape()[i];
      upper[i] = wide[i];
    }
    Tensor room(wide, DType::I32);
    Tensor b = room.subarray(lower, upper);
    b.copy_from(a.view);
    REQUIRE(b == dense);
    b.fill(3);

    const int what = round % 5;
    for (const std::size_t place : a.places) {
      std::int32_t& x = expected[place];
      x = what == 0 ? x + 3 : what == 1 ? x - 3 : what == 2 ? x * 7 : what == 3 ? x / 3 : 3;
    }
    if (what == 0) a.view.add(b);
    if (what == 1) a.view.subtract(b);
    if (what == 2) a.view.multiply(7);
    if (what == 3) a.view.divide(3);
    if (what == 4) a.view.copy_from(b);
    REQUIRE(values<std::int32_t>(base) == expected);
    for (const std::size_t place : a.places) expected[place] = -9;
    a.view.fill(-9);
    REQUIRE(values<std::int32_t>(base) == expected);
  }
  CHECK(strided > 200);
}

TEST_CASE("overlapping views agree with copies") {
  std::mt19937 random(4);
  for (int round = 0; round < 500; ++round) {
    Tensor base = counting({7, 5, 6}, DType::F64);
    const auto corner = [&] { return Shape{random() % 4, random() % 3, random() % 3}; };
    const Shape p = corner(), q = corner();
    const auto box = [](const Shape& at) { return Shape{at[0] + 3, at[1] + 2, at[2] + 3}; };
    Tensor expected = base.copy();
    Tensor a = base.subarray(p, box(p)), b = base.subarray(q, box(q));
    Tensor x = expected.subarray(p, box(p));
    const Tensor y = expected.subarray(q, box(q)).copy();
    if (round % 2) {
      a.add(b);
      x.add(y);
    } else {
      a.copy_from(b);
      x.copy_from(y);
    }
    REQUIRE(base == expected);
  }
}

TEST_CASE_TEMPLATE("every element type", T, float, double, std::uint8_t, std::int32_t) {
  const DType dtype = dtype_of<T>;
  Tensor a = counting({3, 4}, dtype);
  CHECK(a.view<T>()(2, 3) == T{11});
  CHECK(a.copy() == a);
  CHECK((a + a) == a * 2);
  CHECK((a * 2) / 2 == a);
  CHECK((a - a) == Tensor({3, 4}, dtype));
  CHECK(a.slice(1, 3).copy() == Tensor::from<T>({3}, {3, 7, 11}));
  CHECK(a.slice(1, 3).fill(2) == Tensor({3}, dtype).fill(2));
  for (const DType to : {DType::F32, DType::F64, DType::U8, DType::I32}) CHECK(a.cast(to).cast(dtype) == a);
}

}  // namespace
}  // namespace sparknet
