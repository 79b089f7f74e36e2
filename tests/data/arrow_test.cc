#include "sparknet/data/arrow.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sparknet/data/feed.h"
#include "sparknet/error.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "sparknet/solver.h"

using namespace sparknet;

namespace {

/// How many structs of Arrow's are not released.
int alive = 0;

/// A producer's array and its type. `spoil` and `spoil_schema` change the structs after they are made.
struct Array {
  std::string format;
  std::int64_t length = 0, offset = 0, null_count = 0, n_buffers = 2;
  std::vector<std::vector<std::byte>> buffers = {};  // the bitmap first; empty: null
  std::vector<Array> children = {};
  std::vector<std::string> names = {};  // of the children
  const void* values = nullptr;         // memory of the test's own, in place of the last buffer
  bool dictionary = false;
  std::function<void(ArrowArray&)> spoil = nullptr;
  std::function<void(ArrowSchema&)> spoil_schema = nullptr;
};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
Array numbers(const std::string& format, const std::vector<T>& values) {
  return {.format = format, .length = static_cast<std::int64_t>(values.size()), .buffers = {{}, bytes_of(values)}};
}
Array floats(const std::vector<float>& values) {
  return numbers("f", values);
}
/// Numbers where they are, not copied.
template <class T>
Array borrowed(const std::string& format, const T* values, std::int64_t length) {
  return {.format = format, .length = length, .buffers = {{}, {}}, .values = values};
}
/// With offsets of int32 or int64.
template <class T = std::int32_t>
Array lists(const std::vector<T>& offsets, Array of) {
  return {
      .format = sizeof(T) == 4 ? "+l" : "+L",
      .length = static_cast<std::int64_t>(offsets.size()) - 1,
      .buffers = {{}, bytes_of(offsets)},
      .children = {std::move(of)},
      .names = {"item"}};
}
Array fixed_lists(std::int64_t size, std::int64_t length, Array of) {
  return {
      .format = "+w:" + std::to_string(size),
      .length = length,
      .n_buffers = 1,
      .buffers = {{}},
      .children = {std::move(of)},
      .names = {"item"}};
}
template <class T = std::int32_t>
Array binary(const std::vector<T>& offsets, const std::vector<std::uint8_t>& data) {
  return {
      .format = sizeof(T) == 4 ? "z" : "Z",
      .length = static_cast<std::int64_t>(offsets.size()) - 1,
      .n_buffers = 3,
      .buffers = {{}, bytes_of(offsets), bytes_of(data)}};
}
Array slice(Array array, std::int64_t offset, std::int64_t length) {
  array.offset = offset, array.length = length;
  return array;
}
Array with_bitmap(Array array, const std::vector<std::uint8_t>& bitmap, std::int64_t null_count = -1) {
  array.buffers[0] = bytes_of(bitmap);
  array.null_count = null_count;
  return array;
}
Array spoiled(Array array, std::function<void(ArrowArray&)> spoil) {
  array.spoil = std::move(spoil);
  return array;
}
Array with_schema(Array array, std::function<void(ArrowSchema&)> spoil) {
  array.spoil_schema = std::move(spoil);
  return array;
}
Array batch(std::vector<std::string> names, std::vector<Array> columns) {
  const std::int64_t rows = columns.at(0).length;
  return {
      .format = "+s",
      .length = rows,
      .n_buffers = 1,
      .buffers = {{}},
      .children = std::move(columns),
      .names = std::move(names)};
}

struct Owned {
  Array array;
  std::string name = {};
  std::vector<const void*> pointers = {};
  std::vector<std::unique_ptr<ArrowArray>> arrays = {};
  std::vector<ArrowArray*> array_pointers = {};
  std::vector<std::unique_ptr<ArrowSchema>> schemas = {};
  std::vector<ArrowSchema*> schema_pointers = {};
  ArrowSchema dictionary{};
};

void export_array(const Array& from, ArrowArray* to) {
  auto* owned = new Owned{.array = from};
  ++alive;
  for (const auto& buffer : owned->array.buffers) owned->pointers.push_back(buffer.empty() ? nullptr : buffer.data());
  if (from.values) owned->pointers.back() = from.values;
  for (const Array& child : from.children) {
    owned->arrays.push_back(std::make_unique<ArrowArray>());
    export_array(child, owned->arrays.back().get());
    owned->array_pointers.push_back(owned->arrays.back().get());
  }
  *to = {
      .length = from.length,
      .null_count = from.null_count,
      .offset = from.offset,
      .n_buffers = from.n_buffers,
      .n_children = static_cast<std::int64_t>(from.children.size()),
      .buffers = owned->pointers.data(),
      .children = owned->array_pointers.data(),
      .dictionary = nullptr,
      .release =
          [](ArrowArray* array) {
            auto* own = static_cast<Owned*>(array->private_data);
            for (const auto& child : own->arrays)
              if (child->release) child->release(child.get());
            delete own;
            --alive;
            array->release = nullptr;
          },
      .private_data = owned};
  if (from.spoil) from.spoil(*to);
}

void export_schema(const Array& from, const std::string& name, ArrowSchema* to) {
  auto* owned = new Owned{.array = from, .name = name};
  ++alive;
  for (std::size_t i = 0; i < from.children.size(); ++i) {
    owned->schemas.push_back(std::make_unique<ArrowSchema>());
    export_schema(from.children[i], from.names[i], owned->schemas.back().get());
    owned->schema_pointers.push_back(owned->schemas.back().get());
  }
  *to = {
      .format = owned->array.format.c_str(),
      .name = owned->name.c_str(),
      .metadata = nullptr,
      .flags = ARROW_FLAG_NULLABLE,
      .n_children = static_cast<std::int64_t>(from.children.size()),
      .children = owned->schema_pointers.data(),
      .dictionary = from.dictionary ? &owned->dictionary : nullptr,
      .release =
          [](ArrowSchema* schema) {
            auto* own = static_cast<Owned*>(schema->private_data);
            for (const auto& child : own->schemas)
              if (child->release) child->release(child.get());
            delete own;
            --alive;
            schema->release = nullptr;
          },
      .private_data = owned};
  if (from.spoil_schema) from.spoil_schema(*to);
}

struct Stream {
  std::vector<Array> batches;
  std::size_t next = 0;
  const char* error = nullptr;
  int schema_status = 0;
  std::size_t fails_at = std::numeric_limits<std::size_t>::max();
};

ArrowArrayStream stream_of(Stream stream) {
  ++alive;
  return {
      .get_schema =
          [](ArrowArrayStream* from, ArrowSchema* to) {
            const auto* own = static_cast<Stream*>(from->private_data);
            if (own->schema_status == 0) export_schema(own->batches.at(0), "", to);
            return own->schema_status;
          },
      .get_next =
          [](ArrowArrayStream* from, ArrowArray* to) {
            auto* own = static_cast<Stream*>(from->private_data);
            if (own->next == own->fails_at) {
              to->release = [](ArrowArray*) { ++alive; };  // what a call that failed leaves is no array
              return EIO;
            }
            if (own->next == own->batches.size())
              *to = {};
            else
              export_array(own->batches[own->next++], to);
            return 0;
          },
      .get_last_error = [](ArrowArrayStream* from) { return static_cast<Stream*>(from->private_data)->error; },
      .release =
          [](ArrowArrayStream* from) {
            delete static_cast<Stream*>(from->private_data);
            --alive;
            from->release = nullptr;
          },
      .private_data = new Stream(std::move(stream))};
}

SourcePtr read(Stream from, std::vector<ArrowColumn> columns) {
  ArrowArrayStream stream = stream_of(std::move(from));
  try {
    SourcePtr source = from_arrow(&stream, std::move(columns));
    CHECK(!stream.release);
    return source;
  } catch (...) {
    CHECK(!stream.release);
    throw;
  }
}

/// A source of one column "x" over one batch.
SourcePtr source_of(Array column, const Shape& shape = {}, Dim classes = 0) {
  return read({{batch({"x"}, {std::move(column)})}}, {{.name = "x", .shape = shape, .classes = classes}});
}

/// What making a source is refused with; nothing is left alive.
template <class E = DataError>
std::string refusal(Stream from, std::vector<ArrowColumn> columns) {
  std::string text = "accepted";
  try {
    read(std::move(from), std::move(columns));
  } catch (const E& error) {
    text = error.what();
  }
  CHECK(alive == 0);
  return text;
}
std::string refusal(Array column, const Shape& shape = {}, Dim classes = 0) {
  return refusal({{batch({"x"}, {std::move(column)})}}, {{.name = "x", .shape = shape, .classes = classes}});
}

template <class T>
std::vector<T> example(const DataSource& source, Dim index, std::size_t column = 0) {
  const Column& of = source.columns()[column];
  REQUIRE(of.dtype == DTypeOf<T>::value);
  std::vector<std::byte> buffer(of.bytes());
  std::vector<T> values(static_cast<std::size_t>(of.shape.count()));
  std::memcpy(values.data(), source.example(index, column, buffer.data()), of.bytes());
  return values;
}

/// All examples of the only column, one after the other.
template <class T>
std::vector<T> all(const SourcePtr& source) {
  std::vector<T> values;
  for (Dim i = 0; i < source->size(); ++i)
    for (const T value : example<T>(*source, i)) values.push_back(value);
  return values;
}

using Floats = std::vector<float>;
using Ints = std::vector<std::int32_t>;
using Bytes = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("arrow: batches, empty ones too, are one source and live as long as it") {
  {
    const SourcePtr source = read(
        {{batch({"y", "x"}, {numbers<std::int32_t>("i", {}), floats({})}),
          batch({"y", "x"}, {numbers<std::int32_t>("i", {7, 8, 9}), floats({1, 2, 3})}),
          batch({"y", "x"}, {numbers<std::int32_t>("i", {}), floats({})}),
          batch({"y", "x"}, {numbers<std::int32_t>("i", {10, 11}), floats({4, 5})}),
          batch({"y", "x"}, {numbers<std::int32_t>("i", {}), floats({})})}},
        {{.name = "x"}, {.name = "label", .column = "y", .classes = 12}, {.name = "again", .column = "y"}});
    CHECK(alive == 6);  // two batches of two columns
    REQUIRE(source->size() == 5);
    CHECK(source->columns()[0] == Column{"x", {}, DType::F32});
    CHECK(source->columns()[1] == Column{"label", {}, DType::I32});
    for (Dim i = 0; i < 5; ++i) {
      CHECK(example<float>(*source, i) == Floats{static_cast<float>(i + 1)});
      CHECK(example<std::int32_t>(*source, i, 1) == Ints{static_cast<std::int32_t>(i + 7)});
      CHECK(example<std::int32_t>(*source, i, 2) == example<std::int32_t>(*source, i, 1));
    }
    std::byte buffer[4];
    CHECK_THROWS_WITH_AS(source->example(5, 0, buffer), "example 5 of a source of 5", ShapeError);
    CHECK_THROWS_AS(source->example(-1, 0, buffer), ShapeError);
    CHECK_THROWS_AS(source->example(0, 3, buffer), ShapeError);
  }
  CHECK(alive == 0);
}

TEST_CASE("arrow: a stream without rows is an empty source") {
  CHECK(source_of(floats({}), {2})->size() == 0);
  ArrowArrayStream stream = stream_of({{batch({"x"}, {floats({1})})}, 1});  // its only batch was read before
  CHECK(from_arrow(&stream, {{.name = "x"}})->size() == 0);
  CHECK(alive == 0);
}

TEST_CASE_TEMPLATE(
    "arrow: u8, i32, f32 and f64 are read where Arrow has them", T, std::uint8_t, std::int32_t, float, double) {
  const std::string format = std::is_same_v<T, std::uint8_t>   ? "C"
                             : std::is_same_v<T, std::int32_t> ? "i"
                             : std::is_same_v<T, float>        ? "f"
                                                               : "g";
  const T memory[] = {T(1), T(2), T(3), T(4), T(5), T(6), T(7)};
  const SourcePtr flat = source_of(slice(borrowed(format, memory, 7), 1, 6));
  CHECK(all<T>(flat) == std::vector<T>(memory + 1, memory + 7));
  CHECK(static_cast<const void*>(flat->example(5, 0, nullptr)) == memory + 6);
  const SourcePtr listed = source_of(lists({1, 3, 5, 7}, borrowed(format, memory, 7)), {2});
  CHECK(all<T>(listed) == all<T>(flat));
  CHECK(static_cast<const void*>(listed->example(2, 0, nullptr)) == memory + 5);

  alignas(T) std::byte shifted[1 + sizeof memory];
  std::memcpy(shifted + 1, memory, sizeof memory);
  const SourcePtr unaligned = source_of(borrowed(format, shifted + 1, 7));
  CHECK(all<T>(unaligned) == std::vector<T>(memory, memory + 7));
  alignas(T) std::byte buffer[sizeof(T)];
  const void* const from = unaligned->example(3, 0, buffer);
  CHECK(from == (sizeof(T) == 1 ? shifted + 4 : buffer));
}

TEST_CASE_TEMPLATE(
    "arrow: integers of every size become I32", T, std::int8_t, std::int16_t, std::uint16_t, std::uint32_t,
    std::int64_t, std::uint64_t) {
  const std::string format = std::is_same_v<T, std::int8_t>     ? "c"
                             : std::is_same_v<T, std::int16_t>  ? "s"
                             : std::is_same_v<T, std::uint16_t> ? "S"
                             : std::is_same_v<T, std::uint32_t> ? "I"
                             : std::is_same_v<T, std::int64_t>  ? "l"
                                                                : "L";
  constexpr std::int64_t i32 = std::numeric_limits<std::int32_t>::max();
  const T most = static_cast<T>(std::min<std::uint64_t>(std::numeric_limits<T>::max(), i32));
  const T least = static_cast<T>(std::max<std::int64_t>(
      std::is_signed_v<T> ? static_cast<std::int64_t>(std::numeric_limits<T>::min()) : 0,
      -i32 - 1));
  const std::vector<T> values = {3, most, least, 4};
  const Ints expected = {3, static_cast<std::int32_t>(most), static_cast<std::int32_t>(least), 4};
  CHECK(all<std::int32_t>(source_of(numbers<T>(format, values))) == expected);
  CHECK(all<std::int32_t>(source_of(lists({0, 2, 4}, numbers<T>(format, values)), {2})) == expected);
  std::vector<std::byte> shifted(1 + sizeof(T) * 4);
  std::memcpy(shifted.data() + 1, values.data(), sizeof(T) * 4);
  CHECK(all<std::int32_t>(source_of(borrowed(format, shifted.data() + 1, 4))) == expected);
}

TEST_CASE("arrow: booleans become I32 and halves F32") {
  const Array bits{.format = "b", .length = 12, .buffers = {{}, bytes_of<std::uint8_t>({0x40, 0x05})}};
  CHECK(all<std::int32_t>(source_of(bits)) == Ints{0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0});
  CHECK(all<std::int32_t>(source_of(slice(bits, 6, 3))) == Ints{1, 0, 1});
  CHECK(all<std::int32_t>(source_of(lists({6, 8, 10}, bits), {2})) == Ints{1, 0, 1, 0});

  constexpr float inf = std::numeric_limits<float>::infinity();
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC100, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x0000};
  CHECK(
      all<float>(source_of(numbers("e", halves))) ==
      Floats{1, -2.5F, 0x1p-24F, -1023 * 0x1p-24F, 0x1p-14F, 65504, inf, -inf, 0});
  const float nan = example<float>(*source_of(numbers<std::uint16_t>("e", {0x7E00})), 0)[0];
  CHECK(nan != nan);
  CHECK(std::signbit(example<float>(*source_of(numbers<std::uint16_t>("e", {0x8000})), 0)[0]));
}

TEST_CASE("arrow: lists and bytes are dense in what they hold, whatever their offsets") {
  const Array count = floats({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const Floats one_to_12 = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  SUBCASE("a slice of lists") {
    const Array of = slice(lists({0, 1, 3, 5, 7, 13}, count), 1, 3);  // the longer ones are no rows
    CHECK(all<float>(source_of(of, {2, 1})) == Floats{1, 2, 3, 4, 5, 6});
  }
  SUBCASE("large lists, of a slice") {
    CHECK(all<float>(source_of(lists<std::int64_t>({1, 3, 5}, slice(count, 1, 12)), {2})) == Floats{2, 3, 4, 5});
  }
  SUBCASE("a slice of fixed lists, of a slice") {
    CHECK(all<float>(source_of(slice(fixed_lists(3, 3, slice(count, 1, 10)), 1, 2), {3})) == Floats{4, 5, 6, 7, 8, 9});
  }
  SUBCASE("lists of lists") {
    const Array of = lists<std::int64_t>({2, 4, 6}, lists({0, 0, 1, 4, 7, 10, 13}, count));
    const SourcePtr source = source_of(of, {2, 3});
    CHECK(source->columns()[0] == Column{"x", {2, 3}, DType::F32});
    CHECK(all<float>(source) == one_to_12);
  }
  SUBCASE("slices of fixed lists of lists of fixed lists") {
    const Array inner = slice(fixed_lists(2, 6, slice(count, 1, 12)), 0, 6);
    CHECK(all<float>(source_of(fixed_lists(1, 2, lists({0, 3, 6}, inner)), {1, 3, 2})) == one_to_12);
    CHECK(
        all<float>(source_of(slice(fixed_lists(1, 2, lists({0, 3, 6}, inner)), 1, 1), {6})) ==
        Floats{7, 8, 9, 10, 11, 12});
  }
  SUBCASE("bytes") {
    const Bytes data = {0, 1, 2, 3, 4, 5, 6};
    CHECK(all<std::uint8_t>(source_of(binary({1, 3, 5}, data), {2})) == Bytes{1, 2, 3, 4});
    CHECK(
        all<std::uint8_t>(source_of(slice(binary<std::int64_t>({0, 1, 4, 7}, data), 1, 2), {3, 1})) ==
        Bytes{1, 2, 3, 4, 5, 6});
    const Array fixed{.format = "w:2", .length = 3, .buffers = {{}, bytes_of(data)}};
    CHECK(all<std::uint8_t>(source_of(slice(fixed, 1, 2), {1, 2})) == Bytes{2, 3, 4, 5});
    CHECK(all<std::uint8_t>(source_of(lists({0, 2}, binary({1, 3, 5}, data)), {2, 2})) == Bytes{1, 2, 3, 4});
    const std::uint8_t memory[] = {9, 8, 7};
    const SourcePtr aliased = source_of(slice(borrowed("w:1", memory, 3), 1, 2));
    CHECK(static_cast<const void*>(aliased->example(1, 0, nullptr)) == memory + 2);
  }
  SUBCASE("a slice of a batch, of slices") {
    Array rows = batch({"x"}, {slice(lists({0, 0, 2, 4, 6, 7}, slice(count, 1, 12)), 1, 4)});
    rows.offset = 1, rows.length = 2;
    CHECK(all<float>(read({{rows}}, {{.name = "x", .shape = {2}}})) == Floats{3, 4, 5, 6});
  }
  SUBCASE("offsets that are not aligned") {
    Array of = lists({1, 3, 5}, count);
    std::vector<std::byte> shifted(1);
    shifted.insert(shifted.end(), of.buffers[1].begin(), of.buffers[1].end());
    of.values = shifted.data() + 1;
    CHECK(all<float>(source_of(of, {2})) == Floats{1, 2, 3, 4});
  }
}

TEST_CASE("arrow: a bitmap without nulls among the rows is no hindrance") {
  CHECK(all<float>(source_of(with_bitmap(floats({1, 2, 3}), {0b111}))) == Floats{1, 2, 3});
  CHECK(all<float>(source_of(with_bitmap(floats({1, 2, 3}), {0}, 0))) == Floats{1, 2, 3});
  CHECK(all<float>(source_of(slice(with_bitmap(floats({1, 2, 3, 4}), {0b0110}, 2), 1, 2))) == Floats{2, 3});
  CHECK(all<float>(source_of(lists({1, 3}, with_bitmap(floats({1, 2, 3, 4}), {0b0110})), {2})) == Floats{2, 3});
  Array rows = with_bitmap(batch({"x"}, {floats({1, 2})}), {0b11});
  CHECK(read({{rows}}, {{.name = "x"}})->size() == 2);
}

TEST_CASE("arrow: a null is found wherever it is") {
  constexpr std::int64_t rows = 300;
  for (const std::int64_t offset : {0, 3, 8})
    for (std::int64_t null = 0; null < rows; ++null) {
      std::vector<std::uint8_t> bitmap(static_cast<std::size_t>(rows + offset + 7) / 8, 0xFF);
      bitmap[static_cast<std::size_t>(null + offset) / 8] &= static_cast<std::uint8_t>(~(1U << (null + offset) % 8));
      const Array column = with_bitmap(floats(Floats(static_cast<std::size_t>(rows + offset))), bitmap);
      REQUIRE(
          refusal(slice(column, offset, rows)) ==
          "column \"x\": row " + std::to_string(null) + " is null; one number is wanted");
    }
}

TEST_CASE("arrow: examples are read by many threads at once") {
  std::vector<std::int64_t> labels(1000);
  std::vector<Array> batches;
  for (std::int64_t i = 0; i < 1000; i += 10) {
    std::vector<std::int64_t> ten;
    for (std::int64_t j = i; j < i + 10; ++j) ten.push_back(j);
    batches.push_back(batch({"x"}, {numbers("l", ten)}));
  }
  const SourcePtr source = read({batches}, {{.name = "x"}});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::int32_t buffer;
      for (Dim i = 0; i < 4000; ++i) {
        const Dim index = (i * 7 + t * 250) % 1000;
        source->example(index, 0, reinterpret_cast<std::byte*>(&buffer));
        wrong += buffer != index;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

namespace {

/// Ten images [1, 2, 2] of bytes with labels, as record batches of three and seven, and as tensors.
struct Images {
  Bytes pixels = Bytes(40);
  std::vector<std::int64_t> labels = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4};

  Images() {
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7);
  }
  SourcePtr arrow() const {
    return read(
        {{batch(
              {"image", "y"},
              {binary({0, 4, 8, 12}, {pixels.begin(), pixels.begin() + 12}),
               numbers<std::int64_t>("l", {labels.begin(), labels.begin() + 3})}),
          batch(
              {"image", "y"},
              {binary({0, 4, 8, 12, 16, 20, 24, 28}, {pixels.begin() + 12, pixels.end()}),
               numbers<std::int64_t>("l", {labels.begin() + 3, labels.end()})})}},
        {{.name = "data", .column = "image", .shape = {1, 2, 2}}, {.name = "label", .column = "y", .classes = 5}});
  }
  SourcePtr tensors() const {
    return from_tensors(
        {{"data", Tensor::from<std::uint8_t>({10, 1, 2, 2}, pixels)},
         {"label", Tensor::from<std::int32_t>({10}, {labels.begin(), labels.end()})}});
  }
};

}  // namespace

TEST_CASE("arrow: a feed makes the batches that it makes of tensors") {
  const FeedOptions options{.shuffle = true, .seed = 3, .transforms = {{"data", {.scale = 0.5, .mirror = true}}}};
  const std::vector<FeedSlot> slots = {{"data", {4, 1, 2, 2}}, {"label", {4}}};
  Feed arrow(Images().arrow(), slots, options), tensors(Images().tensors(), slots, options);
  std::vector<Tensor> a = {Tensor({4, 1, 2, 2}), Tensor({4})}, b = {Tensor({4, 1, 2, 2}), Tensor({4})};
  for (int i = 0; i < 6; ++i) {
    arrow.next(a);
    tensors.next(b);
    for (std::size_t t = 0; t < 2; ++t) REQUIRE(std::memcmp(a[t].raw(), b[t].raw(), a[t].bytes()) == 0);
  }
}

TEST_CASE("arrow: a net trains as on tensors") {
  const NetParam net(
      "small",
      RDDLayer{"data", {4, 1, 2, 2}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  const FeedOptions options{.shuffle = true, .seed = 2, .transforms = {{"data", {.scale = 1.0 / 256}}}};
  Solver arrow({.base_lr = 0.5, .momentum = 0.9}, net), tensors({.base_lr = 0.5, .momentum = 0.9}, net);
  arrow.set_training_data(Images().arrow(), options);
  tensors.set_training_data(Images().tensors(), options);
  const Tensor before = arrow.net().param_arena().copy();
  for (int i = 0; i < 30; ++i) REQUIRE(arrow.step() == tensors.step());
  const Tensor a = arrow.net().param_arena(), b = tensors.net().param_arena();
  CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
  CHECK(std::memcmp(a.raw(), before.raw(), a.bytes()) != 0);
}

TEST_CASE("arrow: rows that cannot be are refused by column, row and what was expected") {
  CHECK(refusal(with_bitmap(floats({1, 2, 3}), {0b101})) == "column \"x\": row 1 is null; one number is wanted");
  CHECK(
      refusal(with_bitmap(lists({0, 2, 2}, floats({1, 2})), {0b01}, 1), {2}) ==
      "column \"x\": row 1 is null; shape [2] wants 2");
  CHECK(
      refusal(lists({0, 2, 4}, with_bitmap(floats({1, 2, 3, 4}), {0b1011})), {2}) ==
      "column \"x\": row 1 has a null; shape [2] wants 2");
  CHECK(
      refusal(lists({0, 2, 4}, with_bitmap(fixed_lists(1, 4, floats({1, 2, 3, 4})), {0b1011})), {2}) ==
      "column \"x\": row 1 has a null; shape [2] wants 2");
  CHECK(refusal(with_bitmap(binary({0, 1}, {1}), {0})) == "column \"x\": row 0 is null; one number is wanted");

  CHECK(
      refusal(lists({0, 2, 5}, floats({1, 2, 3, 4, 5})), {2}) ==
      "column \"x\": row 1 has 3 numbers, and shape [2] wants 2");
  CHECK(
      refusal(lists({0, 2, 5, 7}, floats({1, 2, 3, 4, 5, 6, 7})), {2}) ==
      "column \"x\": row 1 has 3 numbers, and shape [2] wants 2");
  CHECK(
      refusal(lists({0, 0}, lists({0, 1}, floats({1}))), {2}) ==
      "column \"x\": row 0 has 0 numbers, and shape [2] wants 2");
  CHECK(
      refusal(fixed_lists(0, 1, fixed_lists(2, 0, floats({}))), {2}) ==
      "column \"x\": row 0 has 0 numbers, and shape [2] wants 2");
  CHECK(
      refusal(lists({0, 3, 5}, floats({1, 2, 3, 4, 5})), {2}) ==
      "column \"x\": row 0 has 3 numbers, and shape [2] wants 2");
  CHECK(refusal(lists({0, 0}, floats({})), {2}) == "column \"x\": row 0 has 0 numbers, and shape [2] wants 2");
  CHECK(refusal(lists({0, 2}, floats({1, 2}))) == "column \"x\": row 0 has 2 numbers, and one number is wanted");
  CHECK(refusal(floats({1}), {2}) == "column \"x\": row 0 has 1 number, and shape [2] wants 2");
  CHECK(
      refusal(fixed_lists(3, 1, floats({1, 2, 3})), {2}) == "column \"x\": row 0 has 3 numbers, and shape [2] wants 2");
  CHECK(refusal(fixed_lists(0, 1, floats({})), {2}) == "column \"x\": row 0 has 0 numbers, and shape [2] wants 2");
  CHECK(refusal(binary({0, 4, 7}, Bytes(7)), {2, 2}) == "column \"x\": row 1 has 3 bytes, and shape [2, 2] wants 4");
  CHECK(
      refusal({.format = "w:1", .length = 1, .buffers = {{}, bytes_of(Bytes{1})}}, {2}) ==
      "column \"x\": row 0 has 1 byte, and shape [2] wants 2");

  const Array six = floats({1, 2, 3, 4, 5, 6});
  CHECK(
      refusal(lists({0, 2}, lists({0, 3, 5}, six)), {2, 3}) ==
      "column \"x\": row 0 has 5 numbers, and shape [2, 3] wants 6");
  CHECK(
      refusal(lists({0, 2}, lists({0, 2, 6}, six)), {2, 3}) ==
      "column \"x\": row 0 has a list of 4, and the column's first has 2; lists inside of lists must be of one length");
  CHECK(
      refusal(lists({0, 1, 3}, lists({0, 2, 4, 6}, six)), {2, 1}) ==
      "column \"x\": row 1 has a list of 2, and the column's first has 1; lists inside of lists must be of one length");
  CHECK(
      refusal(
          {{batch({"x"}, {lists({0, 2}, lists({0, 3, 6}, six))}),
            batch({"x"}, {lists({0, 3}, lists({0, 2, 4, 6}, six))})}},
          {{.name = "x", .shape = {2, 3}}}) ==
      "column \"x\": row 1 has a list of 3, and the column's first has 2; lists inside of lists must be of one length");
}

TEST_CASE("arrow: numbers that cannot be are refused by column, row and what was expected") {
  CHECK(
      refusal(numbers<std::int64_t>("l", {1, std::int64_t{1} << 31})) ==
      "column \"x\": row 1 is 2147483648, and integers must fit 32 bits; cast the column to double");
  CHECK(
      refusal(lists({0, 2, 4}, numbers<std::uint32_t>("I", {1, 2, 3, 0xFFFFFFFF})), {2}) ==
      "column \"x\": row 1 has 4294967295, and integers must fit 32 bits; cast the column to double");
  CHECK(refusal(numbers<std::int64_t>("l", {-(std::int64_t{1} << 31) - 1})).find("-2147483649") != std::string::npos);
  CHECK(refusal(numbers<std::uint64_t>("L", {~std::uint64_t{0}})).find("18446744073709551615") != std::string::npos);

  CHECK(
      refusal(numbers<std::int32_t>("i", {0, 9, 10}), {}, 10) ==
      "column \"x\": row 2 is 10, and a label is a whole number from 0 to 9");
  const std::string label = ", and a label is a whole number from 0 to 9";
  CHECK(refusal(numbers<std::int8_t>("c", {-1}), {}, 10) == "column \"x\": row 0 is -1" + label);
  CHECK(refusal(numbers<std::uint8_t>("C", {9, 10}), {1}, 10) == "column \"x\": row 1 is 10" + label);
  CHECK(
      refusal(numbers<std::int64_t>("l", {9, std::int64_t{1} << 32}), {}, 10).find("row 1 is 42949") !=
      std::string::npos);
  CHECK(
      refusal(numbers<std::uint64_t>("L", {~std::uint64_t{0}}), {}, 10).find("row 0 is 18446744") != std::string::npos);
  CHECK(refusal(lists({0, 2}, numbers<std::int16_t>("s", {1, 11})), {2}, 10) == "column \"x\": row 0 has 11" + label);
  CHECK(refusal(floats({0, 1.5}), {}, 10) == "column \"x\": row 1 is 1.5" + label);
  CHECK(refusal(floats({9, 10}), {}, 10) == "column \"x\": row 1 is 10" + label);
  CHECK(refusal(floats({9, -1}), {}, 10) == "column \"x\": row 1 is -1" + label);
  CHECK(refusal(floats({9, std::numeric_limits<float>::quiet_NaN()}), {}, 10) == "column \"x\": row 1 is nan" + label);
  CHECK(refusal(numbers<double>("g", {9, 0.5}), {}, 10) == "column \"x\": row 1 is 0.5" + label);
  CHECK(refusal(numbers<std::uint16_t>("e", {0x3E00}), {}, 10) == "column \"x\": row 0 is 1.5" + label);
  CHECK(all<float>(source_of(floats({9, 0}), {}, 10)) == Floats{9, 0});
  CHECK(refusal(numbers<std::int32_t>("i", {0}), {}, -1).starts_with("column \"x\": classes is -1; from 1 to "));
  CHECK(
      refusal(numbers<std::int32_t>("i", {0}), {}, (Dim{1} << 31) + 1).find("classes is 2147483649") !=
      std::string::npos);
  CHECK(
      all<std::int32_t>(source_of(numbers<std::int64_t>("l", {0x7FFFFFFF}), {}, Dim{1} << 31)) ==
      Ints{std::numeric_limits<std::int32_t>::max()});
}

TEST_CASE("arrow: other types are refused by name") {
  const std::string accepted = "; integers, floats, bool, binary, and lists of them or of such lists are accepted";
  const std::pair<const char*, const char*> types[] = {
      {"n", "null"},
      {"u", "utf8"},
      {"U", "large_utf8"},
      {"vu", "utf8_view"},
      {"vz", "binary_view"},
      {"tdD", "date32"},
      {"tdm", "date64"},
      {"ttu", "time"},
      {"tsu:UTC", "timestamp"},
      {"tDn", "duration"},
      {"tiM", "interval"},
      {"+m", "map"},
      {"+vl", "list_view"},
      {"+vL", "large_list_view"},
      {"+ud:0,1", "dense_union"},
      {"+us:0,1", "sparse_union"},
      {"+r", "run_end_encoded"},
      {"??", "\"??\""},
      {"", "\"\""}};
  for (const auto& [format, name] : types)
    CHECK(refusal({.format = format, .length = 1}) == std::string("column \"x\": its type is ") + name + accepted);
  CHECK(
      refusal({.format = "d:10,2", .length = 1}) ==
      "column \"x\": its type is decimal" + accepted + "; cast it to double");
  CHECK(
      refusal(batch({"type"}, {floats({1})})) ==
      "column \"x\": its type is struct" + accepted + "; an ML vector becomes an array by vector_to_array");
  CHECK(
      refusal(lists({0, 1}, fixed_lists(1, 1, {.format = "u", .length = 1}))) ==
      "column \"x\": its type is list of fixed_size_list of utf8" + accepted);
  Array encoded = numbers<std::int32_t>("i", {0});
  encoded.dictionary = true;
  CHECK(refusal(encoded) == "column \"x\": its type is dictionary" + accepted + "; decode it first");
  for (const char* format : {"+w:", "+w:x", "+w:-1", "+w:9999999999999999999", "+w:1152921504606846976"})
    CHECK(
        refusal({.format = format, .length = 1, .children = {floats({})}, .names = {"item"}}) ==
        std::string("column \"x\": its schema is malformed: format \"") + format + "\"");
  CHECK(refusal({.format = "w:-1", .length = 1}) == "column \"x\": its schema is malformed: format \"w:-1\"");
}

TEST_CASE("arrow: what is asked for and is not there is refused") {
  const Stream stream{{batch({"image", "label", "twice", "twice"}, {floats({}), floats({}), floats({}), floats({})})}};
  CHECK(
      refusal(stream, {{.name = "lable"}}) ==
      "column \"lable\": there is no such column; there are \"image\", \"label\", \"twice\", \"twice\"; did you mean "
      "\"label\"?");
  CHECK(refusal(stream, {{.name = "data", .column = "x"}})
            .starts_with("column \"x\": there is no such column; there are "));
  CHECK(refusal(stream, {{.name = "twice"}}) == "column \"twice\": there are several of that name; rename all but one");
  CHECK(
      refusal<Error>(stream, {{.name = "a", .column = "image"}, {.name = "a", .column = "label"}}) ==
      "from_arrow: two columns are called \"a\"");
  CHECK(refusal<Error>(stream, {}) == "from_arrow: no columns were given, and at least one is wanted");
  CHECK(
      refusal<ShapeError>(stream, {{.name = "image", .shape = {3, 0}}}) ==
      "column \"image\": an example of shape [3, 0] holds nothing");
  CHECK(
      refusal<ShapeError>(stream, {{.name = "image", .shape = {Dim{1} << 40, Dim{1} << 40}}}) ==
      "column \"image\": an example of shape [1099511627776, 1099511627776] is too large");
}

TEST_CASE("arrow: rows are counted over all batches, and the batches before are released") {
  CHECK(
      refusal(
          {{batch({"x"}, {floats({1, 2})}),
            batch({"x"}, {floats({})}),
            batch({"x"}, {with_bitmap(floats({3, 4}), {0b01})})}},
          {{.name = "x"}}) == "column \"x\": row 3 is null; one number is wanted");
  CHECK(
      refusal({{batch({"x"}, {floats({1, 2})}), batch({"x"}, {floats({3, 1.5})})}}, {{.name = "x", .classes = 5}}) ==
      "column \"x\": row 3 is 1.5, and a label is a whole number from 0 to 4");
  CHECK(
      refusal(
          {{batch({"x"}, {floats({1})}), with_bitmap(batch({"x"}, {floats({1, 2, 3})}), {0b011})}},
          {{.name = "x"}}) == "Arrow's stream: row 3 is null in all columns");
}

TEST_CASE("arrow: a stream that fails says why") {
  const std::vector<Array> batches = {batch({"x"}, {floats({1, 2})})};
  CHECK(
      refusal({.batches = batches, .error = "the disk is gone", .fails_at = 1}, {{.name = "x"}}) ==
      "Arrow's stream: batch 1: the disk is gone");
  CHECK(refusal({.batches = batches, .fails_at = 0}, {{.name = "x"}}) == "Arrow's stream: batch 0: Input/output error");
  CHECK(
      refusal({.batches = batches, .error = "no such table", .schema_status = ENOENT}, {{.name = "x"}}) ==
      "Arrow's stream: its schema: no such table");

  ArrowArrayStream stream{};
  CHECK_THROWS_WITH_AS(from_arrow(&stream, {{.name = "x"}}), "Arrow's stream: it was released already", DataError);
  CHECK_THROWS_WITH_AS(from_arrow(nullptr, {{.name = "x"}}), "Arrow's stream: there is none", DataError);
  for (const bool schema : {false, true}) {
    stream = stream_of({batches});
    if (schema)
      stream.get_schema = nullptr;
    else
      stream.get_next = nullptr;
    CHECK_THROWS_WITH_AS(
        from_arrow(&stream, {{.name = "x"}}),
        "Arrow's stream: it is malformed: get_schema or get_next is null",
        DataError);
    CHECK(alive == 0);
  }
  stream = stream_of({.batches = batches, .fails_at = 0});
  stream.get_last_error = nullptr;
  CHECK_THROWS_WITH_AS(from_arrow(&stream, {{.name = "x"}}), "Arrow's stream: batch 0: Input/output error", DataError);
  CHECK(alive == 0);
}

TEST_CASE("arrow: schemas that are malformed are refused") {
  const auto released = [](ArrowSchema& schema) { schema.release(&schema); };
  const auto of = [](Array rows) { return refusal({{std::move(rows)}}, {{.name = "x"}}); };
  const Array rows = batch({"x"}, {floats({1})});
  CHECK(of(floats({1})) == "Arrow's stream: its schema is not that of record batches");
  CHECK(of(with_schema(rows, released)) == "Arrow's stream: its schema was released already");
  for (const auto& spoil : std::vector<std::function<void(ArrowSchema&)>>{
           [](ArrowSchema& schema) { schema.n_children = -1; },
           [](ArrowSchema& schema) { schema.children = nullptr; },
           [](ArrowSchema& schema) { schema.format = nullptr; }})
    CHECK(of(with_schema(rows, spoil)) == "Arrow's stream: its schema is not that of record batches");
  CHECK(of(with_schema(rows, [](ArrowSchema& schema) {
          schema.n_children = 0;
        })) == "column \"x\": there is no such column; there are none");
  CHECK(of(with_schema(rows, [](ArrowSchema& schema) {
          schema.children[0]->name = nullptr;
        })) == "column \"x\": there is no such column; there are \"\"");
  CHECK(of(with_schema(rows, [](ArrowSchema& schema) {
          schema.children[0] = nullptr;
        })).starts_with("column \"x\": there is no such column"));
  CHECK(of(batch({"x"}, {with_schema(floats({1}), released)})).starts_with("column \"x\": there is no such column"));
  const std::string missing = "column \"x\": its schema is missing or was released already";
  CHECK(refusal(with_schema(floats({1}), [](ArrowSchema& schema) { schema.format = nullptr; })) == missing);
  CHECK(refusal(lists({0, 1}, with_schema(floats({1}), released))) == missing);
  const Array list = lists({0, 1}, floats({1}));
  CHECK(refusal(with_schema(list, [](ArrowSchema& schema) { schema.children[0] = nullptr; })) == missing);
  CHECK(refusal(with_schema(list, [](ArrowSchema& schema) {
          schema.children = nullptr;
        })) == "column \"x\": its schema is malformed: a list with 1 children");
  for (const std::int64_t n : {-1, 0, 2})
    CHECK(refusal(with_schema(list, [n](ArrowSchema& schema) {
            schema.n_children = n;
          })) == "column \"x\": its schema is malformed: a list with " + std::to_string(n) + " children");
  Array deep = floats({1});
  for (int i = 0; i < 31; ++i) deep = fixed_lists(1, 1, deep);
  CHECK(all<float>(source_of(deep)) == Floats{1});
  CHECK(refusal(fixed_lists(1, 1, deep)) == "column \"x\": its lists are nested more than 31 deep");
}

TEST_CASE("arrow: arrays that are not what the schema says are refused") {
  using Spoil = std::function<void(ArrowArray&)>;
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max(),
                         least = std::numeric_limits<std::int64_t>::min();
  SUBCASE("numbers out of range, in arrays at any depth") {
    const Array list = lists({0, 1}, floats({1})), bytes = binary({0, 1}, {1});
    const std::vector<Spoil> spoils = {
        [](ArrowArray& array) { array.length = -1; },
        [](ArrowArray& array) { array.length = huge; },
        [](ArrowArray& array) { array.offset = -1; },
        [](ArrowArray& array) { array.offset = huge; },
        [](ArrowArray& array) { array.offset = least; },
        [](ArrowArray& array) { array.null_count = -2; },
        [](ArrowArray& array) { array.n_buffers = 0; },
        [](ArrowArray& array) { array.n_buffers = -1; },
        [](ArrowArray& array) { array.n_buffers += 1; },
        [](ArrowArray& array) { array.n_children = -1; },
        [](ArrowArray& array) { array.n_children += 1; }};
    for (const Spoil& spoil : spoils) {
      const std::string is_malformed = " is malformed: length ";
      CHECK(refusal(spoiled(list, spoil)).starts_with("column \"x\": Arrow's array of its list" + is_malformed));
      CHECK(refusal(spoiled(bytes, spoil)).starts_with("column \"x\": Arrow's array of its binary" + is_malformed));
      CHECK(refusal(lists({0, 1}, spoiled(floats({1}), spoil)))
                .starts_with("column \"x\": Arrow's array of its float32" + is_malformed));
      CHECK(refusal({{spoiled(batch({"x"}, {floats({1})}), spoil)}}, {{.name = "x"}})
                .starts_with("Arrow's stream: a batch" + is_malformed));
    }
    CHECK(
        refusal(spoiled(list, spoils[0])) ==
        "column \"x\": Arrow's array of its list is malformed: length -1, offset 0, null_count 0, 2 buffers for 2, 1 "
        "children for 1");
    CHECK(
        refusal({{spoiled(batch({"x"}, {floats({1})}), spoils.back())}}, {{.name = "x"}}) ==
        "Arrow's stream: a batch is malformed: length 1, offset 0, null_count 0, 1 buffers for 1, 2 columns for 1");
  }
  SUBCASE("pointers that are null, and arrays that were released") {
    const auto no_buffers = [](ArrowArray& array) { array.buffers = nullptr; };
    const auto no_children = [](ArrowArray& array) { array.children = nullptr; };
    const auto no_child = [](ArrowArray& array) { array.children[0] = nullptr; };
    const auto no_last = [](ArrowArray& array) { array.buffers[array.n_buffers - 1] = nullptr; };
    const auto released = [](ArrowArray& array) { array.release(&array); };
    const Array list = lists({0, 1}, floats({1}));
    const std::string of = "column \"x\": Arrow's array of its ";
    CHECK(refusal(spoiled(floats({1}), no_buffers)) == of + "float32 has no buffers or children");
    CHECK(refusal(spoiled(list, no_buffers)) == of + "list has no buffers or children");
    CHECK(refusal(spoiled(list, no_children)) == of + "list has no buffers or children");
    CHECK(refusal(spoiled(list, no_child)) == of + "float32 is missing or was released already");
    CHECK(refusal(spoiled(list, no_last)) == of + "list has no offsets");
    CHECK(refusal(spoiled(floats({1}), no_last)) == of + "float32 has no values");
    CHECK(refusal(spoiled(binary({0, 1}, {1}), no_last)) == of + "binary has no values");
    CHECK(refusal(spoiled(binary({0, 1}, {1}), [](ArrowArray& array) {
            array.buffers[1] = nullptr;
          })) == of + "binary has no offsets");
    CHECK(refusal(spoiled(floats({1}), released)) == of + "float32 is missing or was released already");
    CHECK(refusal(lists({0, 1}, spoiled(floats({1}), released))) == of + "float32 is missing or was released already");
    const Array rows = batch({"x"}, {floats({1})});
    const auto of_rows = [&](Spoil spoil) { return refusal({{spoiled(rows, std::move(spoil))}}, {{.name = "x"}}); };
    CHECK(of_rows(no_buffers).starts_with("Arrow's stream: a batch is malformed"));
    CHECK(of_rows(no_children).starts_with("Arrow's stream: a batch is malformed"));
    CHECK(of_rows(no_child) == of + "float32 is missing or was released already");
  }
  SUBCASE("nulls without a bitmap") {
    Array column = floats({1, 2});
    column.null_count = 1;
    CHECK(refusal(column) == "column \"x\": Arrow's array of its float32 has 1 nulls and no validity bitmap");
    column.null_count = -1;
    CHECK(all<float>(source_of(column)) == Floats{1, 2});
  }
  SUBCASE("fewer items than are used") {
    Array rows = batch({"x"}, {floats({1})});
    rows.length = 2;
    const std::string beyond = "column \"x\": Arrow's array of its float32 has 1 items, and items 0 to 1 are used";
    CHECK(refusal({{rows}}, {{.name = "x"}}) == beyond);
    rows.length = 1, rows.offset = 1;
    CHECK(
        refusal({{rows}}, {{.name = "x"}}) ==
        "column \"x\": Arrow's array of its float32 has 1 items, and items 1 to 1 are used");
    CHECK(refusal(fixed_lists(2, 1, floats({1})), {2}) == beyond);
    CHECK(refusal(lists({0, 2}, floats({1})), {2}) == beyond);
    CHECK(
        refusal(lists({4, 6}, floats({1})), {2}) ==
        "column \"x\": Arrow's array of its float32 has 1 items, and items 4 to 5 are used");
  }
  SUBCASE("offsets") {
    const std::string of_list = "column \"x\": Arrow's array of its list ",
                      large = "column \"x\": Arrow's array of its large_list ";
    const Array four = floats({1, 2, 3, 4});
    CHECK(refusal(lists({4, 2}, four), {2}) == of_list + "has offset 2 after 4");
    CHECK(refusal(lists({4, 2, 4}, four), {2}) == of_list + "has offset 2 after 4");
    CHECK(refusal(lists({0, 2, 4, 2}, four), {2}) == of_list + "has offset 2 after 4");
    CHECK(refusal(lists({-2, 0, 2}, four), {2}) == of_list + "begins at offset -2");
    CHECK(
        refusal(lists<std::int64_t>({0, 2, least}, four), {2}) ==
        large + "has offset " + std::to_string(least) + " after 2");
    CHECK(refusal(lists<std::int64_t>({huge, least}, four), {2}) == large + "begins at offset " + std::to_string(huge));
    CHECK(refusal(lists<std::int64_t>({0, huge}, four), {2}) == large + "is too large");
    CHECK(
        refusal(lists<std::int64_t>({0, 2, huge}, four), {2}) ==
        "column \"x\": row 1 has " + std::to_string(huge - 2) + " numbers, and shape [2] wants 2");
    CHECK(
        refusal(lists<std::int64_t>({0, 2}, lists<std::int64_t>({0, huge, -2}, four)), {2}) ==
        large + "is too large");  // each as long as the first, modulo 2^64
    CHECK(
        refusal(binary<std::int64_t>({0, 2, 1}, {1, 2}), {2}) ==
        "column \"x\": Arrow's array of its large_binary has offset 1 after 2");
  }
  SUBCASE("sizes that no memory has") {
    constexpr Dim many = Dim{1} << 58;
    CHECK(
        refusal(fixed_lists(many, 4, floats({1})), {2}) ==
        "column \"x\": Arrow's array of its fixed_size_list is too large");
    CHECK(
        refusal(fixed_lists(many, 1, fixed_lists(many, 1, floats({1}))), {2}).find(" has 1 items, ") !=
        std::string::npos);
    CHECK(
        refusal(
            spoiled(
                fixed_lists(2, 1, floats({1})),
                [](ArrowArray& array) { array.length = many, array.offset = many; }),
            {2})
            .find("fixed_size_list ") != std::string::npos);
  }
}
