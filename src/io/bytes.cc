#include "src/io/bytes.h"

#include <array>

namespace sparknet::detail {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0xEDB88320 : value >> 1;
    table[i] = value;
  }
  return table;
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes) {
  static constexpr std::array<std::uint32_t, 256> table = make_table();
  std::uint32_t value = 0xFFFFFFFF;
  for (const std::byte b : bytes) value = table[(value ^ static_cast<std::uint32_t>(b)) & 0xFF] ^ value >> 8;
  return ~value;
}

}  // namespace sparknet::detail
