#include "src/caffe/proto.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wire_format_lite.h>

#include <climits>
#include <cstdint>
#include <vector>

#include "sparknet/error.h"
#include "src/io/atomic_file.h"
#include "src/io/file.h"

namespace sparknet::caffe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

/// Looks for the byte at which a message stops being one; protobuf says only that it does.
class Damage {
 public:
  Damage(const std::string& file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

  void find(const Descriptor& type, std::size_t begin, std::size_t end, const std::string& where, int depth) {
    if (depth > 100) fail(begin, where, "messages lie in messages more than 100 deep");
    for (std::size_t at = begin; at < end;) {
      const std::size_t tag_at = at;
      const std::uint64_t tag = varint(at, end, where);
      const auto number = static_cast<int>(tag >> 3 & INT_MAX);
      const FieldDescriptor* field = type.FindFieldByNumber(number);
      const std::string name =
          (where.empty() ? "" : where + ".") + (field ? std::string(field->name()) : fmt::format("field {}", number));
      if (number == 0) fail(tag_at, where, "a field has the number 0");
      switch (tag & 7) {
        case WireFormatLite::WIRETYPE_VARINT: varint(at, end, name); break;
        case WireFormatLite::WIRETYPE_FIXED64: take(8, at, end, name); break;
        case WireFormatLite::WIRETYPE_FIXED32: take(4, at, end, name); break;
        case WireFormatLite::WIRETYPE_LENGTH_DELIMITED: {
          const std::uint64_t size = varint(at, end, name);
          const std::size_t first = at;
          take(size, at, end, name);
          if (field && field->type() == FieldDescriptor::TYPE_MESSAGE)
            find(*field->message_type(), first, at, name, depth + 1);
          else if (field)
            packed(*field, first, at, name);
          break;
        }
        default: fail(tag_at, where, fmt::format("there is no field of kind {}", tag & 7));
      }
    }
  }

 private:
  void packed(const FieldDescriptor& field, std::size_t begin, std::size_t end, const std::string& name) const {
    const bool floats = field.type() == FieldDescriptor::TYPE_FLOAT;
    if (floats || field.type() == FieldDescriptor::TYPE_DOUBLE) {
      if (const std::size_t size = floats ? 4 : 8; (end - begin) % size != 0)
        fail(begin, name, fmt::format("its {} bytes are no whole numbers of {} bytes", end - begin, size));
    } else if (field.is_packable()) {
      for (std::size_t at = begin; at < end;) varint(at, end, name);
    }
  }

  std::uint64_t varint(std::size_t& at, std::size_t end, const std::string& where) const {
    const std::size_t begin = at;
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at == end) fail(begin, where, "it ends inside of a number");
      const auto byte = std::to_integer<std::uint64_t>(bytes_[at++]);
      if (shift < 64) value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    fail(begin, where, "a number has more than 10 bytes");
  }

  void take(std::uint64_t size, std::size_t& at, std::size_t end, const std::string& where) const {
    if (size > end - at) fail(at, where, fmt::format("{} bytes are announced and {} are left", size, end - at));
    at += size;
  }

  [[noreturn]] void fail(std::size_t at, const std::string& where, const std::string& why) const {
    throw DataError(file_, static_cast<std::int64_t>(at), where.empty() ? why : fmt::format("in {}: {}", where, why));
  }

  std::string file_;
  std::span<const std::byte> bytes_;
};

std::string_view plain_name(const google::protobuf::Message& message) {
  return message.GetDescriptor()->name();
}

}  // namespace

void parse(const std::string& file, std::span<const std::byte> bytes, google::protobuf::Message& message) {
  if (bytes.size() > INT_MAX)
    throw DataError(file, -1, fmt::format("has {} bytes, and protobuf reads at most 2 GiB", bytes.size()));
  const google::protobuf::LogSilencer quiet;
  if (message.ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  Damage(file, bytes).find(*message.GetDescriptor(), 0, bytes.size(), "", 0);
  throw DataError(file, -1, fmt::format("is no {} of Caffe's", plain_name(message)));
}

void read_message(const std::filesystem::path& file, google::protobuf::Message& message) {
  const detail::File content(file);
  parse(content.name(), std::as_bytes(std::span(content.data(), content.size())), message);
}

void write_message(const std::filesystem::path& file, const google::protobuf::Message& message) {
  const std::size_t size = message.ByteSizeLong();
  if (size > INT_MAX)
    throw DataError(
        file.string(),
        -1,
        fmt::format(
            "a {} of {} bytes is more than protobuf's 2 GiB; HDF5 has no such limit",
            plain_name(message),
            size));
  const google::protobuf::LogSilencer quiet;
  std::vector<std::byte> bytes(size);
  message.SerializePartialToArray(bytes.data(), static_cast<int>(size));
  detail::write_atomically(file, bytes);
}

}  // namespace sparknet::caffe
