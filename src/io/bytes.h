#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/shape.h"

namespace sparknet::detail {

/// The CRC-32 of IEEE 802.3 (zlib's), of bytes that follow others whose checksum is `before`.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// Whether a tensor of any type may have the shape, which a file says: none of its dimensions is negative, and 63 bits
/// count its bytes even where its zeros are ones.
bool is_possible(const Shape& shape);

/// Appends values to a buffer in the machine's byte order, which is little-endian wherever sparknet runs.
class ByteWriter {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void number(T value) { raw({reinterpret_cast<const std::byte*>(&value), sizeof value}); }
  void text(std::string_view value) {
    number<std::uint64_t>(value.size());
    raw({reinterpret_cast<const std::byte*>(value.data()), value.size()});
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads values back; throws DataError with file and byte offset where the buffer ends too early.
class ByteReader {
 public:
  /// Begins at byte `offset` of `bytes`, which lie at byte `base` of the file.
  ByteReader(std::string file, std::span<const std::byte> bytes, std::size_t offset = 0, std::size_t base = 0)
      : file_(std::move(file)), bytes_(bytes), offset_(offset), base_(base) {}

  template <class T>
  requires std::is_arithmetic_v<T> T number(const char* what) {
    T value;
    std::memcpy(&value, raw(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string text(const char* what) {
    const auto size = number<std::uint64_t>(what);
    const auto bytes = raw(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::span<const std::byte> raw(std::uint64_t size, const char* what) {
    if (size > bytes_.size() - offset_)
      fail(
          "ends inside of " + std::string(what) + ": " + std::to_string(size) + " bytes are wanted and " +
          std::to_string(bytes_.size() - offset_) + " are left");
    offset_ += size;
    return bytes_.subspan(offset_ - size, size);
  }
  std::size_t left() const { return bytes_.size() - offset_; }
  [[noreturn]] void fail(const std::string& why) const {
    throw DataError(file_, static_cast<std::int64_t>(base_ + offset_), why);
  }

 private:
  std::string file_;
  std::span<const std::byte> bytes_;
  std::size_t offset_, base_;
};

}  // namespace sparknet::detail
