#include "src/io/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "sparknet/error.h"

#ifdef SPARKNET_WITH_ZLIB
#include <zlib.h>
#endif

namespace sparknet::detail {
namespace {

using Bytes = std::unique_ptr<std::uint8_t[]>;

std::pair<Bytes, std::size_t> read_bytes(const std::filesystem::path& path, const std::string& name) {
  std::error_code trouble;
  const std::filesystem::file_status status = std::filesystem::status(path, trouble);
  if (status.type() == std::filesystem::file_type::not_found) throw DataError(name, -1, "there is no such file");
  if (status.type() == std::filesystem::file_type::none)
    throw DataError(name, -1, "cannot be looked up: " + trouble.message());
  if (std::filesystem::is_directory(status)) throw DataError(name, -1, "this is a folder, and a file is wanted");
  if (!std::filesystem::is_regular_file(status)) throw DataError(name, -1, "this is no regular file");

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw DataError(name, -1, std::string("cannot be opened: ") + std::strerror(errno));
  const std::uintmax_t length = std::filesystem::file_size(path, trouble);
  if (trouble) throw DataError(name, -1, "its length cannot be read: " + trouble.message());
  if (length == 0) throw DataError(name, 0, "the file is empty");

  const std::size_t size = static_cast<std::size_t>(length);
  Bytes bytes = std::make_unique_for_overwrite<std::uint8_t[]>(size);
  const std::size_t got = std::fread(bytes.get(), 1, size, file.get());
  if (got != size) {
    const std::string why = std::ferror(file.get()) ? std::strerror(errno) : "the file became shorter meanwhile";
    throw DataError(name, static_cast<std::int64_t>(got), "reading stopped: " + why);
  }
  return {std::move(bytes), size};
}

}  // namespace

File::File(const std::filesystem::path& path) : name_(path.string()) {
  std::tie(data_, size_) = read_bytes(path, name_);
  packed_ = size_ >= 2 && data_[0] == 0x1f && data_[1] == 0x8b;
  if (packed_) unpack();
}

std::uint32_t File::big_endian(std::size_t offset) const {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | data_[offset + i];
  return value;
}

void File::fail(std::size_t offset, const std::string& why) const {
  throw DataError(
      name_,
      static_cast<std::int64_t>(offset),
      why + (packed_ ? " (counted in the uncompressed content)" : ""));
}

#ifdef SPARKNET_WITH_ZLIB

void File::unpack() {
  const Bytes packed = std::move(data_);
  const std::size_t packed_size = size_;
  std::size_t taken = 0;
  const auto damaged = [&](const std::string& why) {
    return DataError(
        name_,
        static_cast<std::int64_t>(taken),
        fmt::format("{}, after {} bytes of content; fetch the file again", why, size_));
  };

  z_stream stream{};
  constexpr int gzip_only = 16;
  if (inflateInit2(&stream, gzip_only + MAX_WBITS) != Z_OK) throw DataError(name_, -1, "zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);

  // A stream ends with its content's size. It may lie, so it is believed within reason and the buffer can still grow.
  std::size_t hint = 0;
  for (std::size_t i = 0; i < 4 && packed_size >= 18; ++i) hint = hint << 8 | packed[packed_size - 1 - i];
  std::size_t capacity = std::clamp<std::size_t>(hint + 1, 1024, 1024 + 8 * packed_size);
  data_ = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  size_ = 0;

  constexpr std::size_t chunk = std::size_t{1} << 30;  // zlib counts in 32 bits
  while (true) {
    if (size_ == capacity) {
      Bytes larger = std::make_unique_for_overwrite<std::uint8_t[]>(2 * capacity);
      std::memcpy(larger.get(), data_.get(), size_);
      data_ = std::move(larger);
      capacity *= 2;
    }
    const std::size_t room = std::min(capacity - size_, chunk), rest = std::min(packed_size - taken, chunk);
    stream.next_in = packed.get() + taken;
    stream.avail_in = static_cast<uInt>(rest);
    stream.next_out = data_.get() + size_;
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    taken += rest - stream.avail_in;
    size_ += room - stream.avail_out;

    if (result == Z_STREAM_END) {
      if (taken == packed_size) break;
      if (packed[taken] != 0x1f) throw damaged(fmt::format("{} bytes too many in the gzip file", packed_size - taken));
      inflateReset(&stream);  // another member: its content is appended
    } else if (result == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      throw damaged(fmt::format("the gzip stream is damaged ({})", stream.msg ? stream.msg : zError(result)));
    } else if (taken == packed_size && stream.avail_out > 0) {
      throw damaged("the gzip stream is cut short");
    }
  }
  if (size_ == 0) fail(0, "the file is empty");
}

#else

void File::unpack() {
  throw DataError(
      name_,
      0,
      "the file is gzip, and this library was built without zlib: gunzip the file, or build with zlib");
}

#endif

}  // namespace sparknet::detail
