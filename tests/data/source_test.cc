#include "sparknet/data/source.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "sparknet/error.h"
#include "tests/count_allocations.h"

using namespace sparknet;

namespace {

template <class T>
T element(const DataSource& source, Dim index, std::size_t column, std::size_t position = 0) {
  std::vector<std::byte> buffer(source.columns()[column].bytes());
  T value;
  std::memcpy(&value, source.example(index, column, buffer.data()) + position * sizeof(T), sizeof(T));
  return value;
}

SourcePtr counting(Dim size) {
  return from_callback({{"number", {}, DType::I32}}, size, [](Dim index, std::span<std::byte* const> out) {
    const auto number = static_cast<std::int32_t>(index);
    std::memcpy(out[0], &number, sizeof number);
  });
}

}  // namespace

TEST_CASE("tensors become a source that shares them") {
  Tensor data = Tensor::from<float>({2, 1, 2}, {1, 2, 3, 4}), label = Tensor::from<std::uint8_t>({2}, {5, 6});
  const SourcePtr source = from_tensors({{"data", data}, {"label", label}});
  CHECK(source->size() == 2);
  CHECK(source->columns()[0] == Column{"data", {1, 2}, DType::F32});
  CHECK(source->columns()[1] == Column{"label", {}, DType::U8});
  CHECK(element<float>(*source, 1, 0, 0) == 3);
  CHECK(element<std::uint8_t>(*source, 1, 1) == 6);
  CHECK(source->example(0, 0, nullptr) == data.raw());
  CHECK_THROWS_WITH_AS(source->example(2, 0, nullptr), "example 2 of a source of 2", ShapeError);

  const SourcePtr strided = from_tensors({{"data", data.slice(2, 1)}});
  CHECK(element<float>(*strided, 0, 0) == 2);
  CHECK(element<float>(*strided, 1, 0) == 4);
}

TEST_CASE("from_tensors refuses what is no source") {
  const Tensor two({2, 3}), three({3, 3});
  CHECK_THROWS_WITH_AS(
      from_tensors({{"data", two}, {"label", three}}),
      "from_tensors: column \"data\" has 2 examples and column \"label\" has 3",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      from_tensors({{"data", two}, {"data", two}}),
      "from_tensors: two columns are called \"data\"",
      Error);
  CHECK_THROWS_WITH_AS(from_tensors({}), "from_tensors: no columns were given, and at least one is wanted", Error);
  CHECK_THROWS_WITH_AS(
      from_tensors({{"data", Tensor()}}),
      "from_tensors: column \"data\" is an undefined tensor",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      from_tensors({{"data", Tensor(Shape())}}),
      "from_tensors: column \"data\" is a scalar; its first dimension counts examples",
      ShapeError);
}

TEST_CASE("a callback is asked once for all columns of an example") {
  int calls = 0;
  const SourcePtr source = from_callback(
      {{"twice", {}, DType::I32}, {"half", {2}, DType::F64}},
      10,
      [&](Dim index, std::span<std::byte* const> out) {
        ++calls;
        if (index == 7) throw std::runtime_error("seven");
        const auto twice = static_cast<std::int32_t>(2 * index);
        const double half[] = {static_cast<double>(index) / 2, -1};
        std::memcpy(out[0], &twice, sizeof twice);
        std::memcpy(out[1], half, sizeof half);
      });
  CHECK(element<std::int32_t>(*source, 3, 0) == 6);
  CHECK(element<double>(*source, 3, 1, 0) == 1.5);
  CHECK(element<double>(*source, 3, 1, 1) == -1);
  CHECK(calls == 1);
  CHECK_THROWS_WITH(source->example(7, 0, nullptr), "seven");
  CHECK(element<double>(*source, 4, 1, 0) == 2);
  CHECK(element<std::int32_t>(*source, 4, 0) == 8);

  std::byte buffer[16];
  const std::size_t before = allocations();
  for (Dim i = 0; i < 7; ++i) source->example(i, 1, buffer);
  CHECK(allocations() == before);

  CHECK_THROWS_WITH_AS(
      from_callback({{"a", {1}}}, -1, [](Dim, auto) {}),
      "from_callback: a source of -1 examples",
      ShapeError);
  CHECK_THROWS_WITH_AS(from_callback({{"a", {1}}}, 1, nullptr), "from_callback: the function is empty", Error);
}

TEST_CASE("a callback may ask another callback source") {
  const auto wrap = [](SourcePtr inner) {
    return from_callback(
        {{"number", {}, DType::I32}, {"zero", {}, DType::I32}},
        inner->size(),
        [inner](Dim index, std::span<std::byte* const> out) {
          inner->example(index, 0, out[0]);
          std::memset(out[1], 0, 4);
        });
  };
  const SourcePtr source = wrap(wrap(counting(5)));
  for (Dim i = 0; i < 5; ++i) CHECK(element<std::int32_t>(*source, i, 0) == i);
}

TEST_SUITE("threads") {
  TEST_CASE("many threads read one callback source") {
    const SourcePtr numbers = counting(1000);
    const SourcePtr source = from_callback(
        {{"a", {}, DType::I32}, {"b", {}, DType::I32}},
        1000,
        [&](Dim index, std::span<std::byte* const> out) {
          numbers->example(index, 0, out[0]);
          numbers->example(999 - index, 0, out[1]);
        });
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (Dim i = t; i < 1000; i += 1 + t) {
          wrong += element<std::int32_t>(*source, i, 0) != i;
          wrong += element<std::int32_t>(*source, i, 1) != 999 - i;
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("parts of a source hold each example once, in order, and differ in size by one at most") {
  for (const Dim size : {1, 2, 7, 10, 64}) {
    const SourcePtr whole = counting(size);
    for (int count = 1; count <= size; ++count) {
      Dim next = 0;
      for (int index = 0; index < count; ++index) {
        const SourcePtr part = partition(whole, index, count);
        CHECK(part->columns() == whole->columns());
        CHECK_UNARY(part->size() == size / count || part->size() == size / count + 1);
        for (Dim i = 0; i < part->size(); ++i) CHECK(element<std::int32_t>(*part, i, 0) == next++);
        CHECK_THROWS_AS(element<std::int32_t>(*part, part->size(), 0), ShapeError);
      }
      CHECK(next == size);
    }
  }
  const SourcePtr part = partition(partition(counting(100), 1, 4), 2, 5);
  CHECK(part->size() == 5);
  CHECK(element<std::int32_t>(*part, 0, 0) == 35);
}

TEST_CASE("a part that cannot be is refused") {
  const SourcePtr whole = counting(3);
  CHECK_THROWS_WITH_AS(
      partition(whole, 0, 4),
      "partition: 4 parts of 3 examples; a part would be empty, so take fewer parts",
      ShapeError);
  for (const auto& [index, count] : {std::pair{3, 3}, {-1, 3}, {0, 0}, {0, -1}}) {
    const std::string text = "partition: part " + std::to_string(index) + " of " + std::to_string(count) +
                             "; parts are numbered from 0 to count - 1";
    CHECK_THROWS_WITH_AS(partition(whole, index, count), text.c_str(), ShapeError);
  }
  CHECK_THROWS_WITH_AS(partition(nullptr, 0, 1), "partition: there is no source", Error);
}
