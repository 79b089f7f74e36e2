#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace sparknet::detail {

/// The content of a file in memory, unpacked where the file begins as gzip does.
class File {
 public:
  /// Throws DataError for a path that is no readable file, an empty file and a damaged gzip stream.
  explicit File(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  std::size_t size() const { return size_; }
  const std::uint8_t* data() const { return data_.get(); }
  std::uint8_t operator[](std::size_t offset) const { return data_[offset]; }
  /// The unsigned number in the four bytes at `offset`, the highest first.
  std::uint32_t big_endian(std::size_t offset) const;

  /// Throws a DataError about a byte of the content.
  [[noreturn]] void fail(std::size_t offset, const std::string& why) const;

 private:
  void unpack();

  std::string name_;
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_ = 0;
  bool packed_ = false;
};

}  // namespace sparknet::detail
