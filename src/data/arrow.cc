#include "sparknet/data/arrow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include "src/data/check.h"
#include "src/suggest.h"

namespace sparknet {
namespace {

/// The types of numbers, in the order of `letters`, which are Arrow's formats.
enum class Number : std::uint8_t { Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64 };
constexpr std::string_view letters = "bcCsSiIlLefg";

const char* name_of(Number number) {
  constexpr const char* names[] = {
      "bool",
      "int8",
      "uint8",
      "int16",
      "uint16",
      "int32",
      "uint32",
      "int64",
      "uint64",
      "float16",
      "float32",
      "float64"};
  return names[static_cast<std::size_t>(number)];
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

/// Whether a source gives the numbers out as Arrow has them.
bool is_native(Number number) {
  return number == Number::U8 || number == Number::I32 || number == Number::F32 || number == Number::F64;
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, magnitude = bits & 0x7FFFU;
  if (magnitude < 0x0400) {  // zero or subnormal
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t exponent_shift = magnitude >= 0x7C00 ? 255 - 31 : 127 - 15;
  return std::bit_cast<float>(sign | ((magnitude << 13) + (exponent_shift << 23)));
}

bool bit_of(const std::byte* bits, Dim i) {
  return (std::to_integer<unsigned>(bits[i / 8]) >> (i % 8) & 1U) != 0;
}

/// The first i below `count` for which bit `at + i` is 0; `count` where there is none.
Dim first_zero(const std::byte* bits, Dim at, Dim count) {
  for (Dim i = 0; i < count;) {
    if (std::uint64_t word; (at + i) % 8 == 0 && count - i >= 64) {
      std::memcpy(&word, bits + (at + i) / 8, sizeof word);
      if (word == ~std::uint64_t{0}) {
        i += 64;
        continue;
      }
    }
    if (!bit_of(bits, at + i)) return i;
    ++i;
  }
  return count;
}

/// Calls visit(i, number `first + i`) for each i below `count`, of an array at `data` that may be unaligned.
template <class V>
void for_each_number(Number number, const std::byte* data, Dim first, Dim count, V&& visit) {
  const auto all = [&]<class T>(std::type_identity<T>, auto convert) {
    data += static_cast<std::size_t>(first) * sizeof(T);
    for (Dim i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, data + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
      visit(i, convert(value));
    }
  };
  constexpr std::identity same;
  switch (number) {
    case Number::Bool:
      for (Dim i = 0; i < count; ++i) visit(i, std::int32_t{bit_of(data, first + i)});
      return;
    case Number::I8:
      return all(std::type_identity<std::int8_t>(), [](std::int8_t value) { return std::int32_t{value}; });
    case Number::U8: return all(std::type_identity<std::uint8_t>(), same);
    case Number::I16: return all(std::type_identity<std::int16_t>(), same);
    case Number::U16: return all(std::type_identity<std::uint16_t>(), same);
    case Number::I32: return all(std::type_identity<std::int32_t>(), same);
    case Number::U32: return all(std::type_identity<std::uint32_t>(), same);
    case Number::I64: return all(std::type_identity<std::int64_t>(), same);
    case Number::U64: return all(std::type_identity<std::uint64_t>(), same);
    case Number::F16: return all(std::type_identity<std::uint16_t>(), from_f16);
    case Number::F32: return all(std::type_identity<float>(), same);
    case Number::F64: return all(std::type_identity<double>(), same);
  }
}

enum class Kind : std::uint8_t { List, LargeList, FixedList, Binary, LargeBinary, FixedBinary, Numbers };

/// One of the arrays that are a column: lists, or what is in the innermost of them.
struct Level {
  Kind kind;
  Dim each = -1;  // how many items each of its items has; -1: that of the first row, which was not yet seen

  bool is_list() const { return kind <= Kind::FixedList; }
  bool is_fixed() const { return kind == Kind::FixedList || kind == Kind::FixedBinary; }
  bool is_large() const { return kind == Kind::LargeList || kind == Kind::LargeBinary; }
  /// As Arrow says: the validity bitmap, the offsets where the size is not fixed, the values where there is no child.
  std::int64_t buffers() const { return 1 + (kind != Kind::Numbers && !is_fixed() ? 1 : 0) + (is_list() ? 0 : 1); }
};

const char* name_of(Kind kind) {
  constexpr const char* names[] =
      {"list", "large_list", "fixed_size_list", "binary", "large_binary", "fixed_size_binary"};
  return names[static_cast<std::size_t>(kind)];
}

/// How Arrow calls a type that is not accepted.
std::string name_of_other(std::string_view format) {
  constexpr std::pair<std::string_view, const char*> names[] = {
      {"n", "null"},
      {"u", "utf8"},
      {"U", "large_utf8"},
      {"vu", "utf8_view"},
      {"vz", "binary_view"},
      {"d:", "decimal"},
      {"tdD", "date32"},
      {"tdm", "date64"},
      {"tt", "time"},
      {"ts", "timestamp"},
      {"tD", "duration"},
      {"ti", "interval"},
      {"+s", "struct"},
      {"+m", "map"},
      {"+vl", "list_view"},
      {"+vL", "large_list_view"},
      {"+ud", "dense_union"},
      {"+us", "sparse_union"},
      {"+r", "run_end_encoded"}};
  for (const auto& [prefix, name] : names)
    if (format.starts_with(prefix)) return name;
  return fmt::format("\"{}\"", format);
}

/// Above what a length is no length; sums of two and bytes of one do not overflow.
constexpr Dim most = std::numeric_limits<Dim>::max() / 16;
constexpr std::size_t most_levels = 32;

/// Where a batch's numbers lie: those of row r begin at number `first + r * shape.count()` of the array at `data`.
struct Piece {
  const std::byte* data = nullptr;
  Dim first = 0;
};

/// One column of the stream, as it was asked for.
class Reader {
 public:
  explicit Reader(ArrowColumn wanted) : wanted_(std::move(wanted)) {
    Dim count = 1;
    for (const Dim side : wanted_.shape) {
      if (side < 1 || side > most / count)
        throw ShapeError(fmt::format(
            "column \"{}\": an example of shape {} {}",
            name(),
            to_string(wanted_.shape),
            side < 1 ? "holds nothing" : "is too large"));
      count *= side;
    }
    constexpr Dim most_classes = Dim{1} << 31;
    if (wanted_.classes < 0 || wanted_.classes > most_classes)
      fail(fmt::format("classes is {}; from 1 to {}, or 0 for what are no labels", wanted_.classes, most_classes));
  }

  const ArrowColumn& wanted() const { return wanted_; }
  const std::string& name() const { return wanted_.column.empty() ? wanted_.name : wanted_.column; }
  Number number() const { return number_; }
  std::size_t child() const { return child_; }

  /// Finds the column in a schema of record batches, and how its rows hold their numbers.
  void find(const ArrowSchema& schema) {
    std::vector<std::string> names;
    for (std::int64_t i = 0; i < schema.n_children; ++i) {
      const ArrowSchema* child = schema.children[i];
      names.emplace_back(child && child->release && child->name ? child->name : "");
    }
    const auto found = std::ranges::find(names, name());
    if (found == names.end())
      fail(fmt::format(
          "there is no such column; {}{}",
          names.empty() ? "there are none" : fmt::format("there are \"{}\"", fmt::join(names, "\", \"")),
          did_you_mean(name(), names)));
    if (std::find(found + 1, names.end(), name()) != names.end())
      fail("there are several of that name; rename all but one");
    child_ = static_cast<std::size_t>(found - names.begin());

    const ArrowSchema* level = schema.children[child_];
    while (read_level(level)) level = level->children[0];
  }

  /// Where the numbers of `rows` rows, at least one, lie that begin with number `begin` of `array`; `row` is the number
  /// of the first among all batches. Refuses nulls and rows that have not the shape's count.
  Piece locate(const ArrowArray* array, Dim begin, Dim rows, Dim row) {
    Dim per_row = 1;
    for (Level& level : levels_) {
      const Dim items = rows * per_row;
      check_array(array, level, begin, items);
      const Dim at = array->offset + begin;
      if (const Dim null = first_null(*array, at, items); null < items)
        fail(
            row + null / per_row,
            fmt::format("{} null; {}", &level == levels_.data() ? "is" : "has a", expectation()));
      if (level.kind == Kind::Numbers) {
        if (per_row != count()) fail_count(row, per_row);
        return {values_of(*array, level), at};
      }

      const bool last = !level.is_list() || (&level + 1)->kind == Kind::Numbers;
      if (level.is_fixed()) {
        if (level.each > 0 && at + items > most / level.each) fail_array(level, "is too large");
        begin = at * level.each;
      } else {
        const auto* offsets = static_cast<const std::byte*>(array->buffers[1]);
        if (!offsets) fail_array(level, "has no offsets");
        offsets += static_cast<std::size_t>(at) * (level.is_large() ? sizeof(std::int64_t) : sizeof(std::int32_t));
        begin = level.is_large() ? check_offsets<std::int64_t>(offsets, level, last, items, per_row, row)
                                 : check_offsets<std::int32_t>(offsets, level, last, items, per_row, row);
      }
      if (level.each > most / items) fail_array(level, "is too large");
      per_row *= level.each;
      if (per_row == 0 || (last && per_row != count())) fail_count(row, per_row);
      if (!level.is_list()) return {values_of(*array, level), begin};
      array = array->children[0];
    }
    return {};
  }

  /// Refuses numbers that the source may not hold.
  void check_values(const Piece& piece, Dim rows, Dim row) const {
    const bool wide = number_ == Number::U32 || number_ == Number::I64 || number_ == Number::U64;
    if (wanted_.classes == 0 && !wide) return;
    const Dim limit = wanted_.classes;
    for_each_number(number_, piece.data, piece.first, rows * count(), [&](Dim i, auto value) {
      bool fits;
      if constexpr (std::integral<decltype(value)>)
        fits = limit == 0 ? std::in_range<std::int32_t>(value)
                          : std::cmp_greater_equal(value, 0) && std::cmp_less(value, limit);
      else
        fits = value >= 0 && static_cast<double>(value) < static_cast<double>(limit) && value == std::floor(value);
      if (!fits) fail_value(row + i / count(), fmt::format("{}", value));
    });
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw DataError(fmt::format("column \"{}\"", name()), -1, why);
  }

 private:
  Dim count() const { return wanted_.shape.count(); }

  [[noreturn]] void fail(Dim row, const std::string& why) const { fail(fmt::format("row {} {}", row, why)); }

  std::string expectation() const {
    return wanted_.shape.empty() ? "one number is wanted"
                                 : fmt::format("shape {} wants {}", to_string(wanted_.shape), count());
  }

  [[noreturn]] void fail_count(Dim row, Dim has) const {
    const char* unit = levels_.back().kind == Kind::Numbers ? "number" : "byte";
    fail(row, fmt::format("has {} {}{}, and {}", has, unit, has == 1 ? "" : "s", expectation()));
  }

  [[noreturn]] void fail_value(Dim row, const std::string& value) const {
    const char* verb = count() == 1 ? "is" : "has";
    if (wanted_.classes > 0)
      fail(row, fmt::format("{} {}, and a label is a whole number from 0 to {}", verb, value, wanted_.classes - 1));
    fail(row, fmt::format("{} {}, and integers must fit 32 bits; cast the column to double", verb, value));
  }

  [[noreturn]] void fail_array(const Level& level, const std::string& why) const {
    fail(fmt::format(
        "Arrow's array of its {} {}",
        level.kind == Kind::Numbers ? name_of(number_) : name_of(level.kind),
        why));
  }

  [[noreturn]] void refuse_type(std::string name) const {
    const char* remedy = name == "struct"       ? "; an ML vector becomes an array by vector_to_array"
                         : name == "dictionary" ? "; decode it first"
                         : name == "decimal"    ? "; cast it to double"
                                                : "";
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level)
      name = fmt::format("{} of {}", name_of(level->kind), name);
    fail(fmt::format(
        "its type is {}; integers, floats, bool, binary, and lists of them or of such lists are accepted{}",
        name,
        remedy));
  }

  /// True where the level is of lists, and the schema's child says of what.
  bool read_level(const ArrowSchema* schema) {
    if (!schema || !schema->release || !schema->format) fail("its schema is missing or was released already");
    if (levels_.size() == most_levels) fail(fmt::format("its lists are nested more than {} deep", most_levels - 1));
    const std::string_view format = schema->format;
    if (schema->dictionary) refuse_type("dictionary");
    const auto size_of_fixed = [&] {
      const char* const begin = format.data() + format.find(':') + 1;
      const char* const end = format.data() + format.size();
      Dim size = 0;
      const auto [parsed, error] = std::from_chars(begin, end, size);
      if (error != std::errc() || parsed != end || size < 0 || size > most)
        fail(fmt::format("its schema is malformed: format \"{}\"", format));
      return size;
    };
    if (format == "+l" || format == "+L" || format.starts_with("+w:")) {
      if (schema->n_children != 1 || !schema->children)
        fail(fmt::format("its schema is malformed: a list with {} children", schema->n_children));
      levels_.push_back(
          format == "+l"   ? Level{Kind::List}
          : format == "+L" ? Level{Kind::LargeList}
                           : Level{Kind::FixedList, size_of_fixed()});
      return true;
    }
    number_ = Number::U8;
    if (format == "z" || format == "Z")
      levels_.push_back({format == "z" ? Kind::Binary : Kind::LargeBinary});
    else if (format.starts_with("w:"))
      levels_.push_back({Kind::FixedBinary, size_of_fixed()});
    else if (const auto letter = letters.find(format); format.size() == 1 && letter != letters.npos) {
      number_ = static_cast<Number>(letter);
      levels_.push_back({Kind::Numbers});
    } else
      refuse_type(name_of_other(format));
    return false;
  }

  void check_array(const ArrowArray* array, const Level& level, Dim begin, Dim items) const {
    if (!array || !array->release) fail_array(level, "is missing or was released already");
    const std::int64_t buffers = level.buffers(), children = level.is_list() ? 1 : 0;
    if (array->length < 0 || array->length > most || array->offset < 0 || array->offset > most ||
        array->null_count < -1 || array->n_buffers != buffers || array->n_children != children)
      fail_array(
          level,
          fmt::format(
              "is malformed: length {}, offset {}, null_count {}, {} buffers for {}, {} children for {}",
              array->length,
              array->offset,
              array->null_count,
              array->n_buffers,
              buffers,
              array->n_children,
              children));
    if (!array->buffers || (children > 0 && !array->children)) fail_array(level, "has no buffers or children");
    if (items > array->length - begin)
      fail_array(
          level,
          fmt::format("has {} items, and items {} to {} are used", array->length, begin, begin + items - 1));
    if (array->null_count > 0 && !array->buffers[0])
      fail_array(level, fmt::format("has {} nulls and no validity bitmap", array->null_count));
  }

  static Dim first_null(const ArrowArray& array, Dim at, Dim items) {
    if (array.null_count == 0 || !array.buffers[0]) return items;
    return first_zero(static_cast<const std::byte*>(array.buffers[0]), at, items);
  }

  const std::byte* values_of(const ArrowArray& array, const Level& level) const {
    const void* values = array.buffers[level.buffers() - 1];
    if (!values) fail_array(level, "has no values");
    return static_cast<const std::byte*>(values);
  }

  /// Refuses offsets, those at `offsets` and on, by which not each of `items` items is as long as the first of all.
  /// Returns where the first begins.
  template <class T>
  Dim check_offsets(const std::byte* offsets, Level& level, bool last, Dim items, Dim per_row, Dim row) const {
    const auto offset = [&](Dim i) {
      T value;
      std::memcpy(&value, offsets + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
      return static_cast<Dim>(value);
    };
    const Dim first = offset(0);
    if (first < 0 || first > most) fail_array(level, fmt::format("begins at offset {}", first));
    if (level.each < 0) {
      if (offset(1) < first) fail_array(level, fmt::format("has offset {} after {}", offset(1), first));
      level.each = offset(1) - first;
    }
    std::uint64_t differ = 0;  // unsigned, as hostile offsets may be any
    for (Dim i = 0; i < items; ++i)
      differ |= (static_cast<std::uint64_t>(offset(i + 1)) - static_cast<std::uint64_t>(offset(i))) ^
                static_cast<std::uint64_t>(level.each);
    if (differ == 0) return first;

    for (Dim i = 0; i < items; i += per_row, ++row) {
      for (Dim j = i; j < i + per_row; ++j)
        if (offset(j + 1) < offset(j))
          fail_array(level, fmt::format("has offset {} after {}", offset(j + 1), offset(j)));
      if (const Dim has = offset(i + per_row) - offset(i); last && has != count()) fail_count(row, has);
      for (Dim j = i; j < i + per_row; ++j)
        if (const Dim has = offset(j + 1) - offset(j); has != level.each)
          fail(
              row,
              fmt::format(
                  "has a list of {}, and the column's first has {}; lists inside of lists must be of one length",
                  has,
                  level.each));
    }
    return first;
  }

  ArrowColumn wanted_;
  std::size_t child_ = 0;
  std::vector<Level> levels_;  // the outermost first
  Number number_ = Number::F32;
};

[[noreturn]] void fail_stream(const std::string& why) {
  throw DataError("Arrow's stream", -1, why);
}

struct Release {
  template <class T>
  void operator()(T* what) const {
    if (what->release) what->release(what);
    if constexpr (std::is_same_v<T, ArrowArray>) delete what;  // the others are in memory of others
  }
};
using ArrayPtr = std::unique_ptr<ArrowArray, Release>;

class ArrowSource final : public DataSource {
 public:
  ArrowSource(const ArrowSchema& schema, std::vector<ArrowColumn> columns)
      : schema_columns_(schema.n_children), pieces_(columns.size()) {
    if (!schema.format || std::string_view(schema.format) != "+s" || schema.n_children < 0 ||
        (schema.n_children > 0 && !schema.children))
      fail_stream("its schema is not that of record batches");
    for (ArrowColumn& column : columns) {
      if (std::ranges::any_of(columns_, [&](const Column& other) { return other.name == column.name; }))
        throw Error(fmt::format("from_arrow: two columns are called \"{}\"", column.name));
      Reader& reader = readers_.emplace_back(std::move(column));
      reader.find(schema);
      columns_.push_back({reader.wanted().name, reader.wanted().shape, dtype_of(reader.number())});
    }
  }

  void add(ArrayPtr batch) {
    const Dim rows = batch->length, begin = batch->offset;
    if (rows < 0 || rows > most || begin < 0 || begin > most || batch->null_count < -1 || batch->n_buffers != 1 ||
        batch->n_children != schema_columns_ || !batch->buffers || (schema_columns_ > 0 && !batch->children))
      fail_stream(fmt::format(
          "a batch is malformed: length {}, offset {}, null_count {}, {} buffers for 1, {} columns for {}",
          rows,
          begin,
          batch->null_count,
          batch->n_buffers,
          batch->n_children,
          schema_columns_));
    if (rows == 0) return;
    if (batch->null_count != 0 && batch->buffers[0])
      if (const Dim null = first_zero(static_cast<const std::byte*>(batch->buffers[0]), begin, rows); null < rows)
        fail_stream(fmt::format("row {} is null in all columns", size_ + null));
    for (std::size_t c = 0; c < readers_.size(); ++c) {
      Reader& reader = readers_[c];
      const Piece piece = reader.locate(batch->children[reader.child()], begin, rows, size_);
      reader.check_values(piece, rows, size_);
      const bool aligned = reinterpret_cast<std::uintptr_t>(piece.data) % size_of(columns_[c].dtype) == 0;
      pieces_[c].push_back({piece, is_native(reader.number()) && aligned});
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
    const auto& [piece, aliased] = pieces_[column][batch];
    const Column& of = columns_[column];
    const Dim count = of.shape.count(), first = piece.first + (index - starts_[batch]) * count;
    const Number number = readers_[column].number();
    if (is_native(number)) {
      const std::byte* const values = piece.data + static_cast<std::size_t>(first) * size_of(of.dtype);
      if (aliased) return values;
      std::memcpy(buffer, values, of.bytes());
    } else if (of.dtype == DType::F32) {
      convert<float>(number, piece.data, first, count, buffer);
    } else {
      convert<std::int32_t>(number, piece.data, first, count, buffer);
    }
    return buffer;
  }

 private:
  struct Placed {
    Piece piece;
    bool aliased;  // given out as it is
  };

  template <class T>
  static void convert(Number number, const std::byte* data, Dim first, Dim count, std::byte* out) {
    for_each_number(number, data, first, count, [out](Dim i, auto value) {
      const T converted = static_cast<T>(value);
      std::memcpy(out + static_cast<std::size_t>(i) * sizeof(T), &converted, sizeof(T));
    });
  }

  std::int64_t schema_columns_;
  std::vector<Reader> readers_;
  std::vector<Column> columns_;
  std::vector<std::vector<Placed>> pieces_;  // by column and batch
  std::vector<Dim> starts_;                  // of each batch
  std::vector<ArrayPtr> batches_;
  Dim size_ = 0;
};

void check_status(ArrowArrayStream& stream, int status, const std::string& what) {
  if (status == 0) return;
  const char* why = stream.get_last_error ? stream.get_last_error(&stream) : nullptr;
  fail_stream(fmt::format("{}: {}", what, why ? why : std::generic_category().message(status)));
}

}  // namespace

SourcePtr from_arrow(ArrowArrayStream* stream, std::vector<ArrowColumn> columns) {
  if (!stream) fail_stream("there is none");
  if (!stream->release) fail_stream("it was released already");
  const std::unique_ptr<ArrowArrayStream, Release> owned(stream);
  if (!stream->get_schema || !stream->get_next) fail_stream("it is malformed: get_schema or get_next is null");
  if (columns.empty()) throw Error("from_arrow: no columns were given, and at least one is wanted");

  ArrowSchema schema{};
  check_status(*stream, stream->get_schema(stream, &schema), "its schema");
  const std::unique_ptr<ArrowSchema, Release> owned_schema(&schema);
  if (!schema.release) fail_stream("its schema was released already");
  const auto source = std::make_shared<ArrowSource>(schema, std::move(columns));
  for (std::int64_t n = 0;; ++n) {
    ArrayPtr batch(new ArrowArray{});
    const int status = stream->get_next(stream, batch.get());
    if (status != 0) batch->release = nullptr;
    check_status(*stream, status, fmt::format("batch {}", n));
    if (!batch->release) return source;
    source->add(std::move(batch));
  }
}

}  // namespace sparknet
