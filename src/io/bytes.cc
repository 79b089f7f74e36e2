#include "src/io/bytes.h"

#include <algorithm>
#include <array>
#include <limits>

namespace sparknet::detail {
namespace {

/// How many bytes are taken at once.
constexpr std::size_t slice = 16;

/// Row k: what a byte does to the checksum when k bytes come after it.
constexpr std::array<std::array<std::uint32_t, 256>, slice> make_tables() {
  std::array<std::array<std::uint32_t, 256>, slice> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0xEDB88320 : value >> 1;
    tables[0][i] = value;
  }
  for (std::size_t k = 1; k < slice; ++k)
    for (std::size_t i = 0; i < 256; ++i) tables[k][i] = tables[0][tables[k - 1][i] & 0xFF] ^ tables[k - 1][i] >> 8;
  return tables;
}

}  // namespace

bool is_possible(const Shape& shape) {
  Dim limit = std::numeric_limits<Dim>::max() / 8;
  for (const Dim dim : shape) {
    if (dim < 0) return false;
    limit /= std::max<Dim>(dim, 1);
  }
  return limit > 0;
}

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) {
  static constexpr std::array<std::array<std::uint32_t, 256>, slice> tables = make_tables();
  std::uint32_t value = ~before;
  for (; bytes.size() >= slice; bytes = bytes.subspan(slice)) {
    std::array<std::uint32_t, slice / 4> words;
    std::memcpy(words.data(), bytes.data(), slice);
    words[0] ^= value;
    value = 0;
    for (std::size_t w = 0; w < words.size(); ++w)
      for (std::size_t b = 0; b < 4; ++b) value ^= tables[slice - 1 - 4 * w - b][words[w] >> 8 * b & 0xFF];
  }
  for (const std::byte b : bytes) value = tables[0][(value ^ static_cast<std::uint32_t>(b)) & 0xFF] ^ value >> 8;
  return ~value;
}

}  // namespace sparknet::detail
