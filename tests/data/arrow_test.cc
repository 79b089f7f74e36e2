#include "sparknet/data/arrow.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sparknet/data/feed.h"
#include "sparknet/error.h"

using namespace sparknet;

namespace {

/// What a test's arrays and schemas own, and how many of them are alive.
int alive = 0;

/// An array of Arrow's with its type.
struct Array {
  std::string format;
  std::int64_t length = 0, offset = 0, null_count = 0, n_buffers = 2;
  std::vector<std::vector<std::byte>> buffers = {};  // the bitmap first; empty: none
  std::vector<Array> children = {};
  std::vector<std::string> names = {};  // of the children
  bool dictionary = false;
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
Array lists(const std::vector<std::int32_t>& offsets, Array of) {
  return {
      .format = "+l",
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
Array binary(const std::vector<std::int32_t>& offsets, const std::vector<std::uint8_t>& data) {
  return {
      .format = "z",
      .length = static_cast<std::int64_t>(offsets.size()) - 1,
      .n_buffers = 3,
      .buffers = {{}, bytes_of(offsets), bytes_of(data)}};
}
Array with_nulls(Array array, std::uint8_t bitmap, std::int64_t count = -1) {
  array.buffers[0] = {std::byte(bitmap)};
  array.null_count = count;
  return array;
}
Array batch(std::vector<std::string> names, std::vector<Array> columns, std::int64_t rows) {
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
            for (const auto& child : own->schemas) child->release(child.get());
            delete own;
            --alive;
            schema->release = nullptr;
          },
      .private_data = owned};
}

struct Batches {
  std::vector<Array> batches;
  std::size_t next = 0;
  std::size_t fails_at = std::numeric_limits<std::size_t>::max();
};

ArrowArrayStream stream_of(std::vector<Array> batches, std::optional<std::size_t> fails_at = {}) {
  auto* all = new Batches{.batches = std::move(batches)};
  if (fails_at) all->fails_at = *fails_at;
  ++alive;
  return {
      .get_schema =
          [](ArrowArrayStream* stream, ArrowSchema* to) {
            export_schema(static_cast<Batches*>(stream->private_data)->batches.at(0), "", to);
            return 0;
          },
      .get_next =
          [](ArrowArrayStream* stream, ArrowArray* to) {
            auto* own = static_cast<Batches*>(stream->private_data);
            if (own->next == own->fails_at) return EIO;
            if (own->next == own->batches.size())
              *to = {};
            else
              export_array(own->batches[own->next++], to);
            return 0;
          },
      .get_last_error = [](ArrowArrayStream*) { return "the disk is gone"; },
      .release =
          [](ArrowArrayStream* stream) {
            delete static_cast<Batches*>(stream->private_data);
            --alive;
            stream->release = nullptr;
          },
      .private_data = all};
}

/// A source of one column "x" over one batch.
SourcePtr source_of(Array column, const Shape& shape, Dim classes = 0) {
  const std::int64_t rows = column.length;
  ArrowArrayStream stream = stream_of({batch({"x"}, {std::move(column)}, rows)});
  return from_arrow(&stream, {{.name = "data", .column = "x", .shape = shape, .classes = classes}});
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

/// What making the source is refused with; nothing is left alive.
std::string refusal(Array column, const Shape& shape, Dim classes = 0) {
  std::string text;
  try {
    source_of(std::move(column), shape, classes);
  } catch (const DataError& error) {
    text = error.what();
  }
  CHECK(alive == 0);
  return text;
}

}  // namespace

TEST_CASE("arrow: numbers, in batches, are read where they are") {
  const std::vector<float> first = {1, 2, 3}, second = {4, 5};
  {
    ArrowArrayStream stream = stream_of(
        {batch({"y", "x"}, {numbers<std::int32_t>("i", {7, 8, 9}), floats(first)}, 3),
         batch({"y", "x"}, {numbers<std::int32_t>("i", {}), floats({})}, 0),
         batch({"y", "x"}, {numbers<std::int32_t>("i", {10, 11}), floats(second)}, 2)});
    const SourcePtr source = from_arrow(&stream, {{.name = "x"}, {.name = "label", .column = "y", .classes = 12}});
    CHECK(!stream.release);
    REQUIRE(source->size() == 5);
    CHECK(source->columns()[1] == Column{"label", {}, DType::I32});
    CHECK(example<float>(*source, 2) == std::vector<float>{3});
    CHECK(example<float>(*source, 3) == std::vector<float>{4});
    CHECK(example<std::int32_t>(*source, 4, 1) == std::vector<std::int32_t>{11});
    std::byte buffer[4];
    CHECK(source->example(0, 0, buffer) != buffer);
    CHECK(source->example(1, 0, buffer) == source->example(0, 0, buffer) + 4);
    CHECK_THROWS_AS(source->example(5, 0, buffer), ShapeError);
  }
  CHECK(alive == 0);
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
  const SourcePtr source = source_of(numbers<T>(format, {T{3}, T{100}, T(std::is_signed_v<T> ? -5 : 5)}), {});
  CHECK(example<std::int32_t>(*source, 1)[0] == 100);
  CHECK(example<std::int32_t>(*source, 2)[0] == (std::is_signed_v<T> ? -5 : 5));
}

TEST_CASE("arrow: booleans, halves and doubles") {
  Array bits{.format = "b", .length = 3, .offset = 6, .buffers = {{}, {std::byte{0x40}, std::byte{0x01}}}};
  const SourcePtr bools = source_of(bits, {});
  CHECK(example<std::int32_t>(*bools, 0)[0] == 1);
  CHECK(example<std::int32_t>(*bools, 1)[0] == 0);
  CHECK(example<std::int32_t>(*bools, 2)[0] == 1);
  const SourcePtr halves = source_of(numbers<std::uint16_t>("e", {0x3C00, 0xC100, 0x0001, 0x7C00, 0x7BFF}), {});
  CHECK(example<float>(*halves, 0)[0] == 1);
  CHECK(example<float>(*halves, 1)[0] == -2.5F);
  CHECK(example<float>(*halves, 2)[0] == 0x1p-24F);
  CHECK(example<float>(*halves, 3)[0] == std::numeric_limits<float>::infinity());
  CHECK(example<float>(*halves, 4)[0] == 65504);
  CHECK(example<double>(*source_of(numbers<double>("g", {0.1}), {}), 0)[0] == 0.1);
}

TEST_CASE("arrow: lists and bytes are dense, whatever their offsets") {
  SUBCASE("lists of a slice") {
    Array column = lists({1, 3, 5, 7}, floats({9, 1, 2, 3, 4, 5, 6}));
    column.offset = 1, column.length = 2;
    CHECK(example<float>(*source_of(column, {2}), 1) == std::vector<float>{5, 6});
  }
  SUBCASE("large lists") {
    Array column = lists({}, floats({1, 2, 3, 4}));
    column.format = "+L", column.length = 2, column.buffers[1] = bytes_of<std::int64_t>({0, 2, 4});
    CHECK(example<float>(*source_of(column, {2, 1}), 1) == std::vector<float>{3, 4});
  }
  SUBCASE("fixed lists of a slice, of a child with an offset") {
    Array inner = floats({0, 0, 0, 1, 2, 3, 4});
    inner.offset = 1, inner.length = 6;
    Array column = fixed_lists(2, 2, inner);
    column.offset = 1;
    CHECK(example<float>(*source_of(column, {2}), 0) == std::vector<float>{1, 2});
  }
  SUBCASE("lists of lists") {
    const SourcePtr source =
        source_of(lists({0, 2, 4}, lists({0, 3, 6, 9, 12}, floats({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}))), {2, 3});
    CHECK(example<float>(*source, 1) == std::vector<float>{7, 8, 9, 10, 11, 12});
  }
  SUBCASE("bytes") {
    CHECK(
        example<std::uint8_t>(*source_of(binary({1, 3, 5}, {0, 1, 2, 3, 4}), {2}), 1) ==
        std::vector<std::uint8_t>{3, 4});
    Array fixed{.format = "w:2", .length = 2, .buffers = {{}, bytes_of<std::uint8_t>({1, 2, 3, 4})}};
    CHECK(example<std::uint8_t>(*source_of(fixed, {1, 2, 1}), 1) == std::vector<std::uint8_t>{3, 4});
  }
  SUBCASE("a slice of a batch") {
    Array rows = batch({"x"}, {floats({1, 2, 3, 4})}, 2);
    rows.offset = 2;
    ArrowArrayStream stream = stream_of({rows});
    CHECK(example<float>(*from_arrow(&stream, {{.name = "x"}}), 0)[0] == 3);
  }
}

TEST_CASE("arrow: a feed makes the batches that it makes of tensors") {
  std::vector<std::uint8_t> pixels(40);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7);
  const std::vector<std::int64_t> labels = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4};
  ArrowArrayStream stream = stream_of(
      {batch(
           {"x", "y"},
           {binary({0, 4, 8, 12}, {pixels.begin(), pixels.begin() + 12}), numbers<std::int64_t>("l", {0, 1, 2})},
           3),
       batch(
           {"x", "y"},
           {binary({0, 4, 8, 12, 16, 20, 24, 28}, {pixels.begin() + 12, pixels.end()}),
            numbers<std::int64_t>("l", {labels.begin() + 3, labels.end()})},
           7)});
  const FeedOptions options{.shuffle = true, .seed = 3, .transforms = {{"x", {.scale = 0.5, .mirror = true}}}};
  const std::vector<FeedSlot> slots = {{"x", {4, 1, 2, 2}}, {"y", {4}}};
  Feed arrow(from_arrow(&stream, {{.name = "x", .shape = {1, 2, 2}}, {.name = "y", .classes = 5}}), slots, options);
  Feed tensors(
      from_tensors(
          {{"x", Tensor::from<std::uint8_t>({10, 1, 2, 2}, pixels)},
           {"y", Tensor::from<float>({10}, {0, 1, 2, 3, 4, 0, 1, 2, 3, 4})}}),
      slots,
      options);
  std::vector<Tensor> a = {Tensor(Shape{4, 1, 2, 2}, DType::F32), Tensor(Shape{4}, DType::F32)};
  std::vector<Tensor> b = {a[0].copy(), a[1].copy()};
  for (int i = 0; i < 6; ++i) {
    arrow.next(a);
    tensors.next(b);
    for (std::size_t t = 0; t < 2; ++t) CHECK(std::memcmp(a[t].raw(), b[t].raw(), a[t].bytes()) == 0);
  }
}

TEST_CASE("arrow: what cannot be read is refused by column, row and what was expected") {
  CHECK(refusal(with_nulls(floats({1, 2, 3}), 0b101), {}) == "column \"x\": row 1 is null; one number is wanted");
  CHECK(refusal(with_nulls(floats({1, 2, 3}), 0b111), {}).empty());
  CHECK(refusal(with_nulls(floats({1, 2, 3}), 0, 0), {}).empty());
  CHECK(
      refusal(lists({0, 2, 4}, with_nulls(floats({1, 2, 3, 4}), 0b1011)), {2}) ==
      "column \"x\": row 1 has a null; shape [2] wants 2");
  CHECK(
      refusal(lists({0, 2, 5}, floats({1, 2, 3, 4, 5})), {2}) ==
      "column \"x\": row 1 has 3 numbers, and shape [2] wants 2");
  CHECK(refusal(binary({0, 3}, {1, 2, 3}), {2, 2}) == "column \"x\": row 0 has 3 numbers, and shape [2, 2] wants 4");
  CHECK(
      refusal(lists({0, 1, 3}, lists({0, 2, 4, 6}, floats({1, 2, 3, 4, 5, 6}))), {2, 1}) ==
      "column \"x\": row 1 has lists of 1 and of 2, and all must be alike");
  CHECK(
      refusal(fixed_lists(3, 1, floats({1, 2, 3})), {2}) == "column \"x\": row 0 has 3 numbers, and shape [2] wants 2");
  CHECK(refusal(floats({1}), {2}) == "column \"x\": row 0 has 1 numbers, and shape [2] wants 2");
  CHECK(
      refusal(numbers<std::int64_t>("l", {1, std::int64_t{1} << 31}), {}) ==
      "column \"x\": row 1 has 2147483648, and a whole number must fit 32 bits");
  CHECK(refusal(numbers<std::uint32_t>("I", {0xFFFFFFFF}), {}).find("4294967295") != std::string::npos);
  CHECK(
      refusal(numbers<std::int32_t>("i", {0, 9, 10}), {}, 10) ==
      "column \"x\": row 2 is 10, and a label is a whole number from 0 to 9");
  CHECK(refusal(numbers<std::int8_t>("c", {-1}), {}, 10).find("row 0 is -1") != std::string::npos);
  CHECK(refusal(floats({0, 1.5}), {}, 10).find("row 1 is 1.5") != std::string::npos);
  CHECK(
      refusal(floats({9, std::numeric_limits<float>::quiet_NaN()}), {}, 10).find("row 1 is nan") != std::string::npos);
  CHECK(refusal(floats({9, 0}), {}, 10).empty());

  CHECK(refusal({.format = "u", .length = 1, .n_buffers = 3}, {}).find("it holds text") != std::string::npos);
  CHECK(refusal(batch({"type"}, {floats({1})}, 1), {}).find("vector_to_array") != std::string::npos);
  CHECK(refusal({.format = "+vl", .length = 1}, {}).find("\"+vl\"") != std::string::npos);
  Array encoded = numbers<std::int32_t>("i", {0});
  encoded.dictionary = true;
  CHECK(refusal(encoded, {}).find("dictionary") != std::string::npos);

  ArrowArrayStream stream = stream_of({batch({"image", "label"}, {floats({1}), floats({1})}, 1)});
  CHECK_THROWS_WITH_AS(
      from_arrow(&stream, {{.name = "lable"}}),
      "column \"lable\": there is no such column; did you mean \"label\"?; there are image, label",
      DataError);
  CHECK(alive == 0);
}

TEST_CASE("arrow: rows are counted over all batches, and a failing stream says why") {
  ArrowArrayStream stream =
      stream_of({batch({"x"}, {floats({1, 2})}, 2), batch({"x"}, {with_nulls(floats({3, 4}), 1)}, 2)});
  CHECK_THROWS_WITH_AS(
      from_arrow(&stream, {{.name = "x"}}),
      "column \"x\": row 3 is null; one number is wanted",
      DataError);
  CHECK(alive == 0);
  stream = stream_of({batch({"x"}, {floats({1, 2})}, 2)}, 1);
  CHECK_THROWS_WITH_AS(from_arrow(&stream, {{.name = "x"}}), "Arrow's stream: the disk is gone", DataError);
  CHECK(alive == 0);
  CHECK_THROWS_WITH_AS(from_arrow(&stream, {{.name = "x"}}), "Arrow's stream: it was released already", DataError);
  stream = stream_of({floats({1})});
  CHECK_THROWS_AS(from_arrow(&stream, {{.name = "x"}}), DataError);
  stream = stream_of({batch({"x"}, {floats({1})}, 1)});
  CHECK_THROWS_AS(from_arrow(&stream, {}), Error);
  CHECK(alive == 0);
}

TEST_CASE("arrow: arrays that are not what they say are refused") {
  Array column = floats({1, 2});
  column.length = 1;  // of two rows
  ArrowArrayStream stream = stream_of({batch({"x"}, {column}, 2)});
  CHECK_THROWS_AS(from_arrow(&stream, {{.name = "x"}}), DataError);
  column = floats({1, 2});
  column.n_buffers = 1;
  CHECK_FALSE(refusal(column, {}).empty());
  column = floats({1, 2});
  column.buffers[1].clear();
  CHECK_FALSE(refusal(column, {}).empty());
  column = floats({1, 2});
  column.offset = -1;
  CHECK_FALSE(refusal(column, {}).empty());
  CHECK_FALSE(refusal(lists({4, 2, 4}, floats({1, 2, 3, 4})), {2}).empty());
  CHECK_FALSE(refusal(lists({-2, 0, 2}, floats({1, 2})), {2}).empty());
  CHECK_FALSE(refusal(lists({0, 2, 4}, floats({1, 2})), {2}).empty());  // beyond the child
  CHECK_FALSE(refusal(fixed_lists(std::int64_t{1} << 60, 3, floats({1})), {2}).empty());
  column = lists({0, 2}, floats({1, 2}));
  column.children.clear();
  CHECK_FALSE(refusal(column, {2}).empty());
}
