#include "src/io/bytes.h"

#include <doctest/doctest.h>

#include <random>

using namespace sparknet::detail;

namespace {

/// The definition, bit by bit.
std::uint32_t plain_crc32(std::span<const std::byte> bytes) {
  std::uint32_t value = 0xFFFFFFFF;
  for (const std::byte b : bytes) {
    value ^= static_cast<std::uint32_t>(b);
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
  }
  return ~value;
}

std::uint32_t crc32_of(std::string_view text) {
  return crc32(std::as_bytes(std::span(text)));
}

}  // namespace

TEST_CASE("shapes that a tensor may have") {
  constexpr sparknet::Dim most = sparknet::Dim{1} << 59;
  CHECK(is_possible({}));
  CHECK(is_possible({0, 3}));
  CHECK(is_possible({most, 1}));
  CHECK_FALSE(is_possible({most, 2}));
  CHECK_FALSE(is_possible({2, -1}));
  CHECK_FALSE(is_possible({0, most, most}));
  CHECK_FALSE(is_possible({most, most, 0}));
}

TEST_CASE("crc32 of known texts") {
  CHECK(crc32_of("") == 0);
  CHECK(crc32_of("a") == 0xE8B7BE43);
  CHECK(crc32_of("123456789") == 0xCBF43926);
  CHECK(crc32_of("The quick brown fox jumps over the lazy dog") == 0x414FA339);
}

TEST_CASE("crc32 is the definition at every alignment and length") {
  std::mt19937 random(1);
  std::vector<std::byte> bytes(200);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  for (std::size_t begin = 0; begin < 20; ++begin)
    for (std::size_t size = 0; begin + size <= bytes.size(); ++size) {
      const auto part = std::span(bytes).subspan(begin, size);
      REQUIRE(crc32(part) == plain_crc32(part));
    }
}

TEST_CASE("crc32 goes on where it stopped") {
  const std::string_view text = "The quick brown fox jumps over the lazy dog";
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    CHECK(crc32(std::as_bytes(std::span(text.substr(cut))), crc32_of(text.substr(0, cut))) == 0x414FA339);
}
