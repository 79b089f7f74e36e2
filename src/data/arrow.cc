#include "sparknet/data/arrow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "src/data/check.h"
#include "src/suggest.h"

namespace sparknet {
namespace {

enum class Number : std::uint8_t { Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64 };

std::size_t size_of(Number number) {  // of Bool, which are bits: 0
  constexpr std::size_t sizes[] = {0, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
  return sizes[static_cast<std::size_t>(number)];
}

DType dtype_of(Number number) {
  switch (number) {
    case Number::U8: return DType::U8;
    case Number::F16:
    case Number::F32: return DType::F32;
    case Number::F64: return DType::F64;
    default: return DType::I32;
  }
}

bool is_native(Number number) {
  return size_of(number) == sparknet::size_of(dtype_of(number)) && number != Number::U32;
}

float from_f16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31)
    return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

/// Calls visit with number `first + i` for each i below `count` of an array at `data`, which may be unaligned.
template <class V>
void for_each_number(Number number, const std::byte* data, Dim first, Dim count, V&& visit) {
  const auto all = [&]<class T>(T, auto convert) {
    for (Dim i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, data + static_cast<std::size_t>(first + i) * sizeof(T), sizeof(T));
      visit(i, convert(value));
    }
  };
  const auto same = [](auto value) { return value; };
  switch (number) {
    case Number::Bool:
      for (Dim i = 0; i < count; ++i) visit(i, std::to_integer<int>(data[(first + i) / 8]) >> (first + i) % 8 & 1);
      return;
    case Number::I8: return all(std::int8_t(), same);
    case Number::U8: return all(std::uint8_t(), same);
    case Number::I16: return all(std::int16_t(), same);
    case Number::U16: return all(std::uint16_t(), same);
    case Number::I32: return all(std::int32_t(), same);
    case Number::U32: return all(std::uint32_t(), same);
    case Number::I64: return all(std::int64_t(), same);
    case Number::U64: return all(std::uint64_t(), same);
    case Number::F16: return all(std::uint16_t(), from_f16);
    case Number::F32: return all(float(), same);
    case Number::F64: return all(double(), same);
  }
}

/// How a row holds its numbers: levels of lists, the outermost first, and what is in the last.
struct Layout {
  enum class Level : std::uint8_t { List, LargeList, FixedList, Binary, LargeBinary, FixedBinary };
  struct Nest {
    Level level;
    Dim size = 0;  // of the fixed ones
  };
  std::vector<Nest> nests;
  Number number = Number::F32;
};

constexpr Dim most = std::numeric_limits<Dim>::max() / 16;

/// One column of the stream, as it was asked for.
struct Reader {
  ArrowColumn wanted;
  std::size_t child = 0;
  Layout layout;

  const std::string& name() const { return wanted.column.empty() ? wanted.name : wanted.column; }

  [[noreturn]] void fail(const std::string& why) const {
    throw DataError(fmt::format("column \"{}\"", name()), -1, why);
  }
  [[noreturn]] void fail(Dim row, const std::string& why) const { fail(fmt::format("row {} {}", row, why)); }

  [[noreturn]] void refuse_type(std::string_view format) const {
    const auto named = [&]() -> std::string {
      if (format == "u" || format == "U" || format == "vu") return "text";
      if (format == "n") return "nothing but nulls";
      if (format == "+s") return "structs (of an ML vector vector_to_array makes an array)";
      if (format.starts_with("+m")) return "maps";
      if (format.starts_with("d:")) return "decimals (cast them to float)";
      if (format.starts_with("t")) return "dates or times";
      return fmt::format("Arrow's type \"{}\"", format);
    };
    fail(fmt::format("it holds {}; numbers, bytes, and lists of numbers or of such lists can be read", named()));
  }

  void read_layout(const ArrowSchema* schema) {
    for (int depth = 0;; ++depth) {
      if (!schema || !schema->format) fail("its schema is incomplete");
      const std::string_view format = schema->format;
      if (schema->dictionary) fail("it is dictionary-encoded; decode it first");
      const auto fixed = [&] {
        Dim size = 0;
        const auto [end, error] =
            std::from_chars(format.data() + format.find(':') + 1, format.data() + format.size(), size);
        if (error != std::errc() || end != format.data() + format.size() || size < 0 || size > most)
          refuse_type(format);
        return size;
      };
      using Level = Layout::Level;
      bool nested = true;
      if (format == "+l")
        layout.nests.push_back({Level::List});
      else if (format == "+L")
        layout.nests.push_back({Level::LargeList});
      else if (format.starts_with("+w:"))
        layout.nests.push_back({Level::FixedList, fixed()});
      else
        nested = false;
      if (nested) {
        if (schema->n_children != 1 || !schema->children || depth > 32) fail("its schema is of lists of nothing");
        schema = schema->children[0];
        continue;
      }
      layout.number = Number::U8;
      if (format == "z") return layout.nests.push_back({Level::Binary});
      if (format == "Z") return layout.nests.push_back({Level::LargeBinary});
      if (format.starts_with("w:")) return layout.nests.push_back({Level::FixedBinary, fixed()});
      constexpr std::string_view letters = "bcCsSiIlLefg";
      if (format.size() != 1 || letters.find(format[0]) == letters.npos) refuse_type(format);
      layout.number = static_cast<Number>(letters.find(format[0]));
      return;
    }
  }

  std::string shape_text() const {
    const Dim count = wanted.shape.count();
    return wanted.shape.empty() ? "one number is wanted"
                                : fmt::format("shape {} wants {}", to_string(wanted.shape), count);
  }

  /// Where a batch's numbers lie: those of row r begin at number `first + r * shape.count()` of the array at `data`.
  struct Piece {
    const std::byte* data = nullptr;
    Dim first = 0;
  };

  /// Of `rows` rows from `begin` on; `row` is the number of the first among all batches.
  Piece piece_of(const ArrowArray* array, Dim begin, Dim rows, Dim row) const {
    const Dim wanted_count = wanted.shape.count();
    Dim per_row = 1, count = rows;  // what a row has at this level, and all rows
    for (std::size_t depth = 0;; ++depth) {
      const bool leaf = depth == layout.nests.size();
      const auto level = leaf ? Layout::Level::List : layout.nests[depth].level;
      const bool binary = !leaf && level >= Layout::Level::Binary;
      const bool fixed = !leaf && (level == Layout::Level::FixedList || level == Layout::Level::FixedBinary);
      const std::int64_t buffers = leaf ? 2 : binary ? (fixed ? 2 : 3) : (fixed ? 1 : 2);
      if (!array || array->length < 0 || array->offset < 0 || array->length > most || array->offset > most ||
          array->n_buffers != buffers || !array->buffers || begin < 0 || count > array->length - begin)
        fail("an array of it is not what its schema says");
      const Dim at = array->offset + begin;
      if (array->null_count != 0 && array->buffers[0]) {
        const auto* valid = static_cast<const std::uint8_t*>(array->buffers[0]);
        for (Dim i = 0; i < count; ++i)
          if ((valid[(at + i) / 8] >> (at + i) % 8 & 1) == 0)
            fail(row + i / per_row, fmt::format("{} null; {}", depth == 0 ? "is" : "has a", shape_text()));
      }
      if (leaf) {
        if (per_row != wanted_count) fail(row, fmt::format("has {} numbers, and {}", per_row, shape_text()));
        if (count > 0 && !array->buffers[1]) fail("an array of it has no memory");
        return {static_cast<const std::byte*>(array->buffers[1]), at};
      }

      Dim size = layout.nests[depth].size, first = 0;
      const bool last = depth + 1 == layout.nests.size();
      if (fixed) {
        if (size > 0 && at + count > most / size) fail("an array of it is too large");
        first = at * size;
      } else if (count > 0) {
        if (!array->buffers[1]) fail("an array of it has no offsets");
        const auto uniform = [&](const auto* offsets) {
          offsets += at;
          const auto begins = static_cast<Dim>(offsets[0]);
          size = last && wanted_count % per_row == 0 ? wanted_count / per_row : static_cast<Dim>(offsets[1]) - begins;
          first = begins;
          if (begins < 0 || size < 0) fail("its offsets are negative or decrease");
          for (Dim i = 0; i < count; ++i) {
            const Dim here = static_cast<Dim>(offsets[i + 1]) - static_cast<Dim>(offsets[i]);
            if (here == size) continue;
            if (here < 0) fail("its offsets are negative or decrease");
            fail(
                row + i / per_row,
                last ? fmt::format("has {} numbers, and {}", per_row == 1 ? here : per_row * here, shape_text())
                     : fmt::format("has lists of {} and of {}, and all must be alike", size, here));
          }
        };
        if (level == Layout::Level::List || level == Layout::Level::Binary)
          uniform(static_cast<const std::int32_t*>(array->buffers[1]));
        else
          uniform(static_cast<const std::int64_t*>(array->buffers[1]));
      }
      if (size > 0 && count > most / size) fail("an array of it is too large");
      per_row *= std::max<Dim>(size, 0);
      count *= size;
      if (count == 0 && rows > 0 && wanted_count > 0) fail(row, fmt::format("has no numbers, and {}", shape_text()));
      if (binary) {
        if (per_row != wanted_count && rows > 0) fail(row, fmt::format("has {} bytes, and {}", per_row, shape_text()));
        if (count > 0 && !array->buffers[buffers - 1]) fail("an array of it has no memory");
        return {static_cast<const std::byte*>(array->buffers[buffers - 1]), first};
      }
      if (rows == 0) return {};
      if (array->n_children != 1 || !array->children) fail("an array of it is not what its schema says");
      begin = first;
      array = array->children[0];
    }
  }

  /// Refuses numbers that no source may hold.
  void check(const Piece& piece, Dim rows, Dim row) const {
    const Dim per_row = wanted.shape.count();
    const bool integers = dtype_of(layout.number) == DType::I32;
    if (wanted.classes <= 0 &&
        (!integers || (layout.number != Number::U32 && layout.number != Number::I64 && layout.number != Number::U64)))
      return;
    for_each_number(layout.number, piece.data, piece.first, rows * per_row, [&](Dim i, auto value) {
      if constexpr (std::integral<decltype(value)>) {
        if (wanted.classes > 0 ? !(std::in_range<Dim>(value) && value >= 0 && static_cast<Dim>(value) < wanted.classes)
                               : !std::in_range<std::int32_t>(value))
          fail_value(row + i / per_row, fmt::format("{}", value));
      } else {
        if (wanted.classes > 0 && !(value >= 0 && static_cast<double>(value) < static_cast<double>(wanted.classes) &&
                                    value == std::floor(value)))
          fail_value(row + i / per_row, fmt::format("{}", value));
      }
    });
  }

  [[noreturn]] void fail_value(Dim row, const std::string& value) const {
    if (wanted.classes > 0)
      fail(row, fmt::format("is {}, and a label is a whole number from 0 to {}", value, wanted.classes - 1));
    fail(row, fmt::format("has {}, and a whole number must fit 32 bits", value));
  }
};

struct ReleaseArray {
  void operator()(ArrowArray* array) const {
    if (array->release) array->release(array);
    delete array;
  }
};
using ArrayPtr = std::unique_ptr<ArrowArray, ReleaseArray>;

class ArrowSource final : public DataSource {
 public:
  explicit ArrowSource(std::vector<Reader> readers) : readers_(std::move(readers)), pieces_(readers_.size()) {
    for (const Reader& reader : readers_)
      columns_.push_back({reader.wanted.name, reader.wanted.shape, dtype_of(reader.layout.number)});
  }

  void add(ArrayPtr batch) {
    const Dim rows = batch->length;
    if (rows < 0 || rows > most || batch->offset < 0 || batch->offset > most)
      throw DataError("Arrow's stream", -1, fmt::format("a batch of {} rows from {}", rows, batch->offset));
    if (rows == 0) return;
    if (batch->null_count != 0 && batch->n_buffers > 0 && batch->buffers && batch->buffers[0])
      throw DataError("Arrow's stream", -1, "a batch has null rows");
    for (std::size_t c = 0; c < readers_.size(); ++c) {
      const Reader& reader = readers_[c];
      if (!batch->children || static_cast<std::int64_t>(reader.child) >= batch->n_children)
        reader.fail("a batch has fewer columns than the schema");
      const Reader::Piece piece = reader.piece_of(batch->children[reader.child], batch->offset, rows, size_);
      reader.check(piece, rows, size_);
      const std::size_t size = sparknet::size_of(columns_[c].dtype);
      const bool here = is_native(reader.layout.number) && reinterpret_cast<std::uintptr_t>(piece.data) % size == 0;
      pieces_[c].push_back({piece, here});
    }
    starts_.push_back(size_);
    size_ += rows;
    batches_.push_back(std::move(batch));
  }

  const std::vector<Column>& columns() const override { return columns_; }
  Dim size() const override { return size_; }

  const std::byte* example(Dim index, std::size_t column, std::byte* buffer) const override {
    detail::check_example(*this, index, column);
    const auto batch = static_cast<std::size_t>(std::ranges::upper_bound(starts_, index) - starts_.begin() - 1);
    const auto& [piece, here] = pieces_[column][batch];
    const Dim count = columns_[column].shape.count();
    const Dim first = piece.first + (index - starts_[batch]) * count;
    const Number number = readers_[column].layout.number;
    if (here) return piece.data + static_cast<std::size_t>(first) * size_of(number);
    const auto convert = [&]<class T>(T*) {
      for_each_number(number, piece.data, first, count, [&](Dim i, auto value) {
        const T converted = static_cast<T>(value);
        std::memcpy(buffer + static_cast<std::size_t>(i) * sizeof(T), &converted, sizeof(T));
      });
    };
    switch (columns_[column].dtype) {
      case DType::U8: convert(static_cast<std::uint8_t*>(nullptr)); break;
      case DType::I32: convert(static_cast<std::int32_t*>(nullptr)); break;
      case DType::F32: convert(static_cast<float*>(nullptr)); break;
      case DType::F64: convert(static_cast<double*>(nullptr)); break;
    }
    return buffer;
  }

 private:
  struct Placed {
    Reader::Piece piece;
    bool here;  // as the source gives it out
  };

  std::vector<Reader> readers_;
  std::vector<Column> columns_;
  std::vector<std::vector<Placed>> pieces_;  // by column and batch
  std::vector<Dim> starts_;                  // of each batch
  std::vector<ArrayPtr> batches_;
  Dim size_ = 0;
};

[[noreturn]] void fail_stream(ArrowArrayStream& stream, int status) {
  const char* why = stream.get_last_error ? stream.get_last_error(&stream) : nullptr;
  throw DataError("Arrow's stream", -1, why ? why : std::strerror(status));
}

std::vector<Reader> readers_of(const ArrowSchema& schema, std::vector<ArrowColumn> columns) {
  if (!schema.format || std::string_view(schema.format) != "+s" || schema.n_children < 0 ||
      (schema.n_children > 0 && !schema.children))
    throw DataError("Arrow's stream", -1, "it is no stream of record batches");
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < schema.n_children; ++i) {
    const ArrowSchema* child = schema.children[i];
    names.emplace_back(child && child->name ? child->name : "");
  }
  std::vector<Reader> readers;
  for (ArrowColumn& column : columns) {
    if (std::ranges::any_of(readers, [&](const Reader& other) { return other.wanted.name == column.name; }))
      throw Error(fmt::format("from_arrow: two columns are called \"{}\"", column.name));
    Reader& reader = readers.emplace_back();
    reader.wanted = std::move(column);
    for (const Dim side : reader.wanted.shape)
      if (side < 1) reader.fail(fmt::format("an example of shape {} holds nothing", to_string(reader.wanted.shape)));
    const auto found = std::ranges::find(names, reader.name());
    if (found == names.end())
      reader.fail(fmt::format(
          "there is no such column{}; there are {}",
          did_you_mean(reader.name(), names),
          fmt::join(names, ", ")));
    reader.child = static_cast<std::size_t>(found - names.begin());
    reader.read_layout(schema.children[reader.child]);
  }
  return readers;
}

}  // namespace

SourcePtr from_arrow(ArrowArrayStream* stream, std::vector<ArrowColumn> columns) {
  if (!stream || !stream->release) throw DataError("Arrow's stream", -1, "it was released already");
  const auto release = [](auto* what) {
    if (what->release) what->release(what);
  };
  const std::unique_ptr<ArrowArrayStream, decltype(release)> owned(stream, release);
  if (columns.empty()) throw Error("from_arrow: no columns were asked for, and at least one is wanted");
  ArrowSchema schema{};
  if (const int status = stream->get_schema(stream, &schema); status != 0) fail_stream(*stream, status);
  const std::unique_ptr<ArrowSchema, decltype(release)> owned_schema(&schema, release);
  if (!schema.release) throw DataError("Arrow's stream", -1, "its schema was released already");
  const auto source = std::make_shared<ArrowSource>(readers_of(schema, std::move(columns)));
  for (;;) {
    ArrayPtr batch(new ArrowArray{});
    if (const int status = stream->get_next(stream, batch.get()); status != 0) {
      batch->release = nullptr;
      fail_stream(*stream, status);
    }
    if (!batch->release) break;
    source->add(std::move(batch));
  }
  return source;
}

}  // namespace sparknet
