#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

/// Writes the file `name` in a folder and returns its path.
inline std::filesystem::path write_file(
    const std::filesystem::path& folder, const std::string& name, const Bytes& bytes) {
  std::ofstream file(folder / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + name);
  return folder / name;
}

inline void append_big_endian(Bytes& bytes, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

inline void append_little_endian(Bytes& bytes, std::uint32_t value, int count) {
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

/// An IDX file with this header and `count` bytes that are 0, 1, 2, ... modulo `modulus`.
inline Bytes idx(const std::vector<std::uint32_t>& header, std::size_t count, std::size_t modulus) {
  Bytes bytes;
  for (const std::uint32_t word : header) append_big_endian(bytes, word);
  for (std::size_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(i % modulus));
  return bytes;
}

inline Bytes idx_images(std::uint32_t count, std::uint32_t rows, std::uint32_t columns) {
  return idx({0x803, count, rows, columns}, std::size_t{count} * rows * columns, 251);
}

inline Bytes idx_labels(std::uint32_t count) {
  return idx({0x801, count}, count, 10);
}

/// Records of CIFAR-10: labels 0, 1, 2, ..., pixels 0, 1, 2, ... modulo 251 running on through the file.
inline Bytes cifar_records(std::size_t count) {
  Bytes bytes;
  for (std::size_t i = 0, pixel = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(i % 10));
    for (int j = 0; j < 3072; ++j) bytes.push_back(static_cast<std::uint8_t>(pixel++ % 251));
  }
  return bytes;
}

/// A gzip member that stores `content` without compressing it, for tests that shall not need zlib. At most 65,535
/// bytes.
inline Bytes gzip_stored(const Bytes& content) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : content) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const std::uint32_t size = static_cast<std::uint32_t>(content.size());
  Bytes bytes = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1};
  append_little_endian(bytes, size, 2);
  append_little_endian(bytes, ~size, 2);
  bytes.insert(bytes.end(), content.begin(), content.end());
  append_little_endian(bytes, ~crc, 4);
  append_little_endian(bytes, size, 4);
  return bytes;
}
