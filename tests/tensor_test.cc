#include "sparknet/tensor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/tensor_values.h"

namespace sparknet {
namespace {

using namespace testing;

// A sanitizer reports an allocation that cannot succeed as a bug of the program.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
constexpr bool address_sanitizer = __has_feature(address_sanitizer);
#else
constexpr bool address_sanitizer = false;
#endif

TEST_CASE("a device is a type and a number") {
  CHECK(to_string(Device::cpu()) == "cpu");
  CHECK(to_string(Device::cuda()) == "cuda:0");
  CHECK(to_string(Device::cuda(1)) == "cuda:1");
  CHECK(Device{} == Device::cpu());
  CHECK(Device::cuda(0) != Device::cuda(1));
  CHECK(Device::cuda(0) != Device::cpu());
}

TEST_CASE("saturate_cast is defined for every value") {
  const double huge = std::numeric_limits<double>::max();
  CHECK(saturate_cast<std::uint8_t>(-1.0f) == 0);
  CHECK(saturate_cast<std::uint8_t>(256.0f) == 255);
  CHECK(saturate_cast<std::uint8_t>(nan) == 0);
  CHECK(saturate_cast<std::uint8_t>(infinity) == 255);
  CHECK(saturate_cast<std::uint8_t>(-infinity) == 0);
  CHECK(saturate_cast<std::uint8_t>(254.5f) == 255);
  CHECK(saturate_cast<std::uint8_t>(254.49f) == 254);
  CHECK(saturate_cast<std::uint8_t>(0.49999997f) == 0);
  CHECK(saturate_cast<std::uint8_t>(300) == 255);
  CHECK(saturate_cast<std::uint8_t>(-300) == 0);
  CHECK(saturate_cast<std::int32_t>(std::uint8_t{255}) == 255);
  CHECK(saturate_cast<std::int32_t>(2.5) == 3);
  CHECK(saturate_cast<std::int32_t>(-2.5) == -3);
  CHECK(saturate_cast<std::int32_t>(-2.49) == -2);
  CHECK(saturate_cast<std::int32_t>(0.49999999999999994) == 0);
  CHECK(saturate_cast<std::int32_t>(16777217.0) == 16777217);
  CHECK(saturate_cast<std::int32_t>(3e9f) == 2147483647);
  CHECK(saturate_cast<std::int32_t>(2147483646.5) == 2147483647);
  CHECK(saturate_cast<std::int32_t>(2147483647.5) == 2147483647);
  CHECK(saturate_cast<std::int32_t>(-2147483648.5) == std::numeric_limits<std::int32_t>::min());
  CHECK(saturate_cast<std::int32_t>(-huge) == std::numeric_limits<std::int32_t>::min());
  CHECK(saturate_cast<std::int32_t>(std::nan("")) == 0);
  CHECK(saturate_cast<float>(huge) == infinity);
  CHECK(saturate_cast<float>(16777217) == 16777216.0f);
  CHECK(std::isnan(saturate_cast<double>(nan)));
}

TEST_CASE("saturate_cast rounds as lround") {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> range(-300, 300);
  for (int i = 0; i < 10000; ++i) {
    const double x = i % 2 ? range(random) : std::floor(range(random)) + 0.5;
    const auto f = static_cast<float>(x);
    CHECK(saturate_cast<std::int32_t>(x) == std::lround(x));
    CHECK(saturate_cast<std::int32_t>(f) == std::lround(f));
    CHECK(saturate_cast<std::uint8_t>(f) == std::clamp(std::lround(f), 0L, 255L));
    CHECK(saturate_cast<std::uint8_t>(x) == std::clamp(std::lround(x), 0L, 255L));
  }
}

TEST_CASE("dispatch calls with the type") {
  const auto size = [](auto tag) { return sizeof(typename decltype(tag)::type); };
  for (const DType dtype : {DType::F32, DType::F64, DType::U8, DType::I32})
    CHECK(dispatch(dtype, size) == size_of(dtype));
  CHECK_THROWS_WITH_AS(
      dispatch(static_cast<DType>(9), size),
      "a tensor holds f32, f64, u8 or i32, not dtype number 9",
      DTypeError);
  CHECK_THROWS_AS(Tensor({2}, static_cast<DType>(9)), DTypeError);
  std::uint16_t half = 0;
  for (const auto& make :
       {+[](std::uint16_t*) { return Tensor({1}, DType::BF16); },
        +[](std::uint16_t* memory) { return Tensor::borrow(memory, {1}, DType::BF16); }})
    CHECK_THROWS_WITH_AS(make(&half), "what a net holds in bf16 is on its GPU; Net::blob gives it as f32", DTypeError);
  CHECK(Tensor::borrow(&half, {1}, DType::BF16, Device::cuda(0)).bytes() == 2);
}

TEST_CASE("a tensor without memory") {
  const Tensor none;
  CHECK_FALSE(none.defined());
  CHECK(none.shape() == Shape{0});
  CHECK(none.count() == 0);
  CHECK(none.bytes() == 0);
  CHECK(none.raw() == nullptr);
  CHECK(none == Tensor({0}));
  CHECK(none.copy().defined());
  CHECK(none.flatten().count() == 0);
  CHECK(none.span<float>().empty());
}

TEST_CASE("a new tensor is zero, aligned and dense") {
  for (const DType dtype : {DType::F32, DType::F64, DType::U8, DType::I32}) {
    const Tensor tensor({2, 3, 5}, dtype);
    CHECK(tensor.defined());
    CHECK(tensor.dtype() == dtype);
    CHECK(tensor.device() == Device::cpu());
    CHECK(tensor.rank() == 3);
    CHECK(tensor.count() == 30);
    CHECK(tensor.bytes() == 30 * size_of(dtype));
    CHECK(tensor.is_contiguous());
    CHECK(Shape(tensor.strides()) == Shape{15, 5, 1});
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.raw()) % 64 == 0);
    CHECK(std::all_of(tensor.raw(), tensor.raw() + tensor.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  }
  CHECK(Tensor({2}).shape() == Shape{2});
  CHECK(Tensor(Shape{}).count() == 1);
  CHECK(Tensor({3, 0, 2}).count() == 0);
  CHECK(Tensor({3, 0, 2}).defined());
}

TEST_CASE("shapes that no memory can hold") {
  CHECK_THROWS_WITH_AS(Tensor({2, -3}), "shape [2, -3] has a negative dimension", ShapeError);
  const Dim big = Dim{1} << 32;
  CHECK_THROWS_WITH_AS(
      Tensor({big, big}),
      "shape [4294967296, 4294967296] of f32 needs more than 2^63 - 1 bytes",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      Tensor({big, big, 0}, DType::U8),
      "shape [4294967296, 4294967296, 0] of u8 needs more than 2^63 - 1 bytes",
      ShapeError);
  CHECK_THROWS_AS(Tensor({Dim{1} << 60}, DType::F64), ShapeError);
  CHECK_THROWS_AS(Tensor({std::numeric_limits<Dim>::max(), 2}, DType::U8), ShapeError);
  float value = 0;
  CHECK_THROWS_AS(Tensor::borrow(&value, {big, big}), ShapeError);
  CHECK_THROWS_AS(Tensor::borrow(&value, {-1}), ShapeError);
  CHECK_THROWS_AS(Tensor::from<float>({-1}, {1}), ShapeError);
  if (!address_sanitizer)
    CHECK_THROWS_WITH_AS(
        Tensor({Dim{1} << 60}, DType::F32),
        "not enough memory: a tensor f32 [1152921504606846976] needs 4611686018427387904 bytes",
        Error);
}

TEST_CASE("from copies elements") {
  Floats vector{1, 2, 3, 4, 5, 6};
  Tensor tensor = Tensor::from({2, 3}, vector);
  vector[0] = 9;
  CHECK(values<float>(tensor) == Floats{1, 2, 3, 4, 5, 6});
  CHECK(Tensor::from({2}, {1, 2}).dtype() == DType::I32);
  CHECK(Tensor::from({2}, {1.0, 2.0}).dtype() == DType::F64);
  CHECK(Tensor::from<std::uint8_t>({2}, {1, 2}).dtype() == DType::U8);
  CHECK(Tensor::from<float>({6}, std::span(vector)).get<float>(0) == 9);
  CHECK(Tensor::from<float>(Shape{}, {7}).get<float>() == 7);
  CHECK(Tensor::from({0, 2}, Floats{}).count() == 0);
  CHECK_THROWS_WITH_AS(
      Tensor::from<float>({2, 3}, {1, 2, 3, 4, 5}),
      "shape [2, 3] holds 6 elements, not 5",
      ShapeError);
}

TEST_CASE("copying a tensor shares storage, copy() does not") {
  Tensor a = counting({2, 3});
  Tensor shared = a;
  Tensor own = a.copy();
  a.set<float>(42, 1, 2);
  CHECK(shared.get<float>(1, 2) == 42);
  CHECK(own.get<float>(1, 2) == 5);
  CHECK(own.raw() != a.raw());
}

TEST_CASE("storage lives as long as a view of it") {
  Tensor row;
  {
    Tensor matrix = counting({2, 3});
    row = matrix.slice(0, 1);
  }
  CHECK(values<float>(row) == Floats{3, 4, 5});
}

TEST_CASE("a moved-from tensor is safe to touch") {
  Tensor a = counting({2, 3});
  const Tensor b = std::move(a);
  CHECK(b.get<float>(1, 2) == 5);
  CHECK_FALSE(a.defined());  // NOLINT(bugprone-use-after-move)
  CHECK_THROWS_WITH_AS(a.fill(1), "the tensor f32 [2, 3] has no memory: it has been moved from", Error);
  CHECK_THROWS_AS(a.view<float>(), Error);
  CHECK_THROWS_AS(a.slice(0, 1).copy(), Error);
  CHECK_THROWS_AS((void)(a == b), Error);
  CHECK(to_string(a) == "Tensor without memory, moved from");
  a = b;
  CHECK(a == b);
}

TEST_CASE("borrowed memory is used in place and not freed") {
  std::array<float, 6> memory{1, 2, 3, 4, 5, 6};
  {
    Tensor tensor = Tensor::borrow(memory.data(), {2, 3});
    CHECK(tensor.dtype() == DType::F32);
    tensor.set<float>(-1, 0, 1);
    tensor.slice(1, 0).fill(7);
  }
  CHECK(memory == std::array<float, 6>{7, -1, 3, 7, 5, 6});
  CHECK(Tensor::borrow(static_cast<void*>(memory.data()), {6}, DType::F32).get<float>(5) == 6);
  CHECK(Tensor::borrow(nullptr, {0}, DType::F32).count() == 0);
  CHECK_THROWS_WITH_AS(Tensor::borrow(nullptr, {2}, DType::F32), "a null pointer cannot be borrowed as f32 [2]", Error);
  CHECK_THROWS_WITH_AS(
      Tensor::borrow(reinterpret_cast<std::byte*>(memory.data()) + 1, {1}, DType::F32),
      "memory borrowed as f32 must be aligned to 4 bytes",
      Error);
}

TEST_CASE("shared memory keeps its owner alive") {
  auto owner = std::make_shared<Floats>(Floats{1, 2, 3, 4});
  const std::weak_ptr<Floats> watch = owner;
  float* data = owner->data();
  Tensor row;
  {
    const Tensor tensor = Tensor::share(std::move(owner), data, {2, 2}, DType::F32);
    row = tensor.slice(0, 1);
  }
  CHECK_FALSE(watch.expired());
  CHECK(values<float>(row) == Floats{3, 4});
  row = Tensor();
  CHECK(watch.expired());
}

TEST_CASE("a view reads and writes elements") {
  Tensor tensor = counting({2, 3});
  auto view = tensor.view<float>();
  CHECK(view.shape() == Shape{2, 3});
  CHECK(view(1, 2) == 5);
  view(std::size_t{1}, std::uint8_t{2}) = 50;
  CHECK(tensor.get<float>(1, 2) == 50);
  const std::array<Dim, 2> index{0, 1};
  CHECK(&view.at(index) == &view(0, 1));
  const TensorView<const float> read = view;
  CHECK(read(0, 2) == 2);
  CHECK(tensor.view<const float>().data() == view.data());
  const Tensor& constant = tensor;
  static_assert(std::is_same_v<decltype(constant.view<float>()), TensorView<const float>>);
  static_assert(std::is_same_v<decltype(constant.span<float>()), std::span<const float>>);
  CHECK(constant.view<float>()(0, 2) == 2);
  CHECK(constant.span<float>()[5] == 50);
  CHECK(Tensor(Shape{}).view<float>()() == 0);
}

TEST_CASE("an element type that is not the tensor's") {
  Tensor tensor({2, 3});
  const Tensor& constant = tensor;
  CHECK_THROWS_WITH_AS(tensor.view<double>(), "a f32 tensor cannot be viewed as f64", DTypeError);
  CHECK_THROWS_WITH_AS(constant.view<std::uint8_t>(), "a f32 tensor cannot be viewed as u8", DTypeError);
  CHECK_THROWS_WITH_AS(Tensor({1}, DType::I32).span<float>(), "an i32 tensor cannot be viewed as f32", DTypeError);
  CHECK_THROWS_AS(constant.span<double>(), DTypeError);
  CHECK_THROWS_AS(tensor.get<double>(0, 0), DTypeError);
  CHECK_THROWS_AS(tensor.set<double>(1, 0, 0), DTypeError);
}

TEST_CASE("an index outside of the shape") {
  Tensor tensor = counting({2, 3});
  const auto view = tensor.view<float>();
  CHECK_THROWS_WITH_AS(view(2, 0), "index [2, 0] is outside of shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(view(0, -1), "index [0, -1] is outside of shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(view(1), "index [1] has rank 1, shape [2, 3] has rank 2", ShapeError);
  CHECK_THROWS_WITH_AS(view(), "index [] has rank 0, shape [2, 3] has rank 2", ShapeError);
  CHECK_THROWS_WITH_AS(tensor.get<float>(0, 3), "index [0, 3] is outside of shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(
      tensor.set<float>(0, 0, 0, 0),
      "index [0, 0, 0] has rank 3, shape [2, 3] has rank 2",
      ShapeError);
  const std::array<Dim, 2> far{1, std::numeric_limits<Dim>::max()};
  CHECK_THROWS_AS(view.at(far), ShapeError);
  CHECK_THROWS_AS(Tensor({0}).get<float>(0), ShapeError);
}

TEST_CASE("slice drops an axis and shares storage") {
  Tensor tensor = counting({2, 3, 4});
  CHECK(tensor.slice(0, 1).shape() == Shape{3, 4});
  CHECK(tensor.slice(0, 1).is_contiguous());
  Tensor middle = tensor.slice(1, 2);
  CHECK(middle.shape() == Shape{2, 4});
  CHECK_FALSE(middle.is_contiguous());
  CHECK(values<float>(middle) == Floats{8, 9, 10, 11, 20, 21, 22, 23});
  CHECK(values<float>(tensor.slice(2, std::size_t{3})) == Floats{3, 7, 11, 15, 19, 23});
  CHECK(middle.slice(0, 1).slice(0, 2).get<float>() == 22);
  middle.fill(0);
  CHECK(tensor.get<float>(1, 2, 3) == 0);
  CHECK_THROWS_WITH_AS(tensor.slice(3, 0), "shape [2, 3, 4] has no axis 3", ShapeError);
  CHECK_THROWS_WITH_AS(tensor.slice(-1, 0), "shape [2, 3, 4] has no axis -1", ShapeError);
  CHECK_THROWS_WITH_AS(tensor.slice(1, 3), "slice 3 of axis 1 is outside of shape [2, 3, 4]", ShapeError);
  CHECK_THROWS_AS(tensor.slice(1, -1), ShapeError);
  CHECK_THROWS_AS(Tensor(Shape{}).slice(0, 0), ShapeError);
}

TEST_CASE("subarray is a half-open box") {
  Tensor tensor = counting({3, 4});
  Tensor box = tensor.subarray({1, 1}, {3, 3});
  CHECK(box.shape() == Shape{2, 2});
  CHECK(values<float>(box) == Floats{5, 6, 9, 10});
  CHECK(box.subarray({1, 0}, {2, 2}).is_contiguous());
  box.set<float>(-1, 1, 1);
  CHECK(tensor.get<float>(2, 2) == -1);
  const std::vector<Dim> lower{0, 0}, upper{1, 4};
  CHECK(values<float>(tensor.subarray(lower, upper)) == Floats{0, 1, 2, 3});
  const Tensor empty = tensor.subarray({3, 4}, {3, 4});
  CHECK(empty.count() == 0);
  CHECK(empty.copy().shape() == Shape{0, 0});
  CHECK_THROWS_WITH_AS(
      tensor.subarray({0, 1}, {3, 5}),
      "there is no box from [0, 1] to [3, 5] in shape [3, 4]",
      ShapeError);
  CHECK_THROWS_AS(tensor.subarray({2, 0}, {1, 4}), ShapeError);
  CHECK_THROWS_AS(tensor.subarray({-1, 0}, {1, 4}), ShapeError);
  CHECK_THROWS_AS(tensor.subarray({0}, {3, 4}), ShapeError);
  CHECK_THROWS_AS(tensor.subarray({0}, {3}), ShapeError);
}

TEST_CASE("contiguity ignores axes of one element") {
  const Tensor tensor = counting({4, 4});
  CHECK(tensor.subarray({1, 0}, {3, 4}).is_contiguous());
  CHECK(tensor.subarray({2, 1}, {3, 3}).is_contiguous());
  CHECK_FALSE(tensor.subarray({0, 0}, {4, 1}).is_contiguous());
  CHECK(tensor.subarray({2, 2}, {2, 4}).is_contiguous());
  CHECK(values<float>(tensor.subarray({2, 1}, {3, 3}).flatten()) == Floats{9, 10});
}

TEST_CASE("span needs contiguous elements") {
  Tensor tensor = counting({2, 3});
  tensor.slice(0, 1).span<float>()[0] = 30;
  CHECK(tensor.get<float>(1, 0) == 30);
  Tensor column = tensor.slice(1, 0);
  CHECK_THROWS_WITH_AS(
      column.span<float>(),
      "the tensor f32 [2] is not contiguous (strides [3]); copy() it first",
      ShapeError);
  CHECK_THROWS_AS(std::as_const(column).span<float>(), ShapeError);
  CHECK(column.copy().span<float>()[1] == 30);
}

TEST_CASE("reshape is a view") {
  Tensor tensor = counting({2, 6});
  Tensor other = tensor.reshape({3, 4});
  CHECK(other.get<float>(2, 3) == 11);
  other.set<float>(-1, 0, 0);
  CHECK(tensor.get<float>(0, 0) == -1);
  CHECK(tensor.reshape({-1}).shape() == Shape{12});
  CHECK(tensor.reshape({2, -1, 3}).shape() == Shape{2, 2, 3});
  CHECK(tensor.reshape({12, -1}).shape() == Shape{12, 1});
  CHECK(Tensor({1}).reshape({}).rank() == 0);
  CHECK(Tensor(Shape{}).reshape({1, 1}).shape() == Shape{1, 1});
  CHECK(Tensor({0, 3}).reshape({-1, 3}).shape() == Shape{0, 3});
  CHECK(tensor.slice(0, 1).reshape({2, 3}).get<float>(1, 2) == 11);
  CHECK_THROWS_WITH_AS(tensor.reshape({5, 2}), "cannot reshape [2, 6] to [5, 2]: 12 elements against 10", ShapeError);
  CHECK_THROWS_WITH_AS(
      tensor.reshape({5, -1}),
      "cannot reshape [2, 6] to [5, -1]: 12 elements are no multiple of 5",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      tensor.reshape({-1, -1}),
      "cannot reshape [2, 6] to [-1, -1]: only one dimension may be -1",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      tensor.reshape({-1, -2}),
      "cannot reshape [2, 6] to [-1, -2]: a dimension is negative",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      Tensor({0}).reshape({0, -1}),
      "cannot reshape [0] to [0, -1]: -1 may be anything beside a dimension of 0",
      ShapeError);
  CHECK_THROWS_AS(tensor.reshape({Dim{1} << 62, 4}), ShapeError);
  CHECK_THROWS_WITH_AS(
      tensor.slice(1, 0).reshape({2, 1}),
      "cannot reshape [2] to [2, 1]: the tensor is not contiguous (strides [6]); copy() it first",
      ShapeError);
}

TEST_CASE("flatten is a view where it can be") {
  Tensor tensor = counting({2, 3});
  CHECK(tensor.flatten().raw() == tensor.raw());
  CHECK(tensor.flatten().shape() == Shape{6});
  const Tensor column = tensor.slice(1, 1).flatten();
  CHECK(values<float>(column) == Floats{1, 4});
  tensor.fill(0);
  CHECK(values<float>(column) == Floats{1, 4});
}

TEST_CASE("memory of another device is not touched") {
  int memory = 0;
  Tensor there = Tensor::borrow(&memory, {2, 3}, DType::F32, Device::cuda());
  Tensor here({2, 3});
  const char* text = "the tensor f32 [2, 3] is on cuda:0; this call reads memory of the cpu";
  CHECK(there.device() == Device::cuda(0));
  CHECK(there.raw() == reinterpret_cast<std::byte*>(&memory));
  CHECK(there.slice(0, 1).device() == Device::cuda(0));
  CHECK(there.reshape({6}).shape() == Shape{6});
  CHECK_THROWS_WITH_AS(there.view<float>(), text, DeviceError);
  CHECK_THROWS_WITH_AS(std::as_const(there).view<float>(), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.span<float>(), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.get<float>(0, 0), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.set<float>(1, 0, 0), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.fill(0), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.copy(), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.cast(DType::F64), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.multiply(2), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.divide(2), text, DeviceError);
  CHECK_THROWS_WITH_AS(there.add(here), text, DeviceError);
  CHECK_THROWS_WITH_AS(here.add(there), text, DeviceError);
  CHECK_THROWS_WITH_AS(here.subtract(there), text, DeviceError);
  CHECK_THROWS_WITH_AS(here.copy_from(there), text, DeviceError);
  CHECK_THROWS_WITH_AS(here + there, text, DeviceError);
  CHECK_THROWS_WITH_AS((void)equal(here, there), text, DeviceError);
  CHECK_THROWS_WITH_AS(
      Tensor({2}, DType::F32, Device::cuda(1)),
      "cannot allocate a tensor on cuda:1; tensors own memory of the cpu only, borrow() the rest",
      DeviceError);
  CHECK(to_string(there) == "Tensor f32 [2, 3] on cuda:0");
}

TEST_CASE("printing") {
  CHECK(to_string(counting({2, 3})) == "Tensor f32 [2, 3]\n[[0, 1, 2],\n [3, 4, 5]]");
  CHECK(to_string(counting({2, 1, 2}, DType::U8)) == "Tensor u8 [2, 1, 2]\n[[[0, 1]],\n [[2, 3]]]");
  CHECK(to_string(floats({0.1f, -1.5f, 1e10f, nan, infinity})) == "Tensor f32 [5]\n[0.1, -1.5, 1e+10, nan, inf]");
  CHECK(to_string(Tensor::from({2}, {-2147483647 - 1, 7})) == "Tensor i32 [2]\n[-2147483648, 7]");
  CHECK(to_string(Tensor(Shape{}, DType::F64).fill(1.0 / 3)) == "Tensor f64 []\n0.333333");
  CHECK(to_string(Tensor({0, 3})) == "Tensor f32 [0, 3]\n[]");
  CHECK(to_string(Tensor()) == "Tensor f32 [0]\n[]");
  CHECK(to_string(counting({2, 3}).slice(1, 1)) == "Tensor f32 [2]\n[1, 4]");
  CHECK(to_string(counting({1001}, DType::I32)) == "Tensor i32 [1001]\n[0, 1, 2, ..., 998, 999, 1000]");
  CHECK(
      to_string(counting({500, 3}, DType::I32)) ==
      "Tensor i32 [500, 3]\n[[0, 1, 2],\n [3, 4, 5],\n [6, 7, 8],\n ...,\n [1491, 1492, 1493],\n [1494, 1495, 1496],\n "
      "[1497, 1498, 1499]]");
  std::ostringstream stream;
  stream << counting({2});
  CHECK(stream.str() == "Tensor f32 [2]\n[0, 1]");
}

}  // namespace
}  // namespace sparknet
