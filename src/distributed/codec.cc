#include "src/distributed/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace sparknet::detail {
namespace {

/// How many elements share a scale, and go through the first-level cache together.
constexpr std::size_t block_size = 256;

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  // The upper half of a NaN may be that of infinity, and its carry may reach the sign.
  const bool is_nan = (bits & 0x7FFFFFFF) > 0x7F800000;
  return static_cast<std::uint16_t>(is_nan ? bits >> 16 | 0x40 : nearest);
}

void write_bf16(const float* values, std::size_t count, std::byte* out) {
  std::array<std::uint16_t, block_size> halves;
  for (std::size_t i = 0; i < count; ++i) halves[i] = to_bf16(values[i]);
  std::memcpy(out, halves.data(), count * sizeof halves[0]);
}

void read_bf16(const std::byte* in, std::size_t count, float* values) {
  std::array<std::uint16_t, block_size> halves;
  std::memcpy(halves.data(), in, count * sizeof halves[0]);
  for (std::size_t i = 0; i < count; ++i) values[i] = std::bit_cast<float>(std::uint32_t{halves[i]} << 16);
}

void write_int8(const float* values, std::size_t count, std::byte* out) {
  // Floats without a sign are in the order of their bits, with infinity and NaN above all numbers.
  std::int32_t most = 0;
  for (std::size_t i = 0; i < count; ++i) most = std::max(most, std::bit_cast<std::int32_t>(values[i]) & 0x7FFFFFFF);
  float scale = std::bit_cast<float>(most) / 127;
  // Below that a scale has too few digits for 127 of it to be the largest value.
  if (scale < std::numeric_limits<float>::min()) scale = 0;
  std::memcpy(out, &scale, sizeof scale);

  // Where a value is not finite the scale is not either, and all zeros times that are NaN.
  std::array<std::int8_t, block_size> multiples{};
  if (scale > 0 && scale <= std::numeric_limits<float>::max())
    for (std::size_t i = 0; i < count; ++i) {
      // The floats above 1.5 * 2^23 are the integers: adding it rounds to the nearest, which the last bits then are.
      const float shifted = values[i] / scale + 0x1.8p23f;
      multiples[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(shifted));
    }
  std::memcpy(out + sizeof scale, multiples.data(), count);
}

void read_int8(const std::byte* in, std::size_t count, float* values) {
  float scale;
  std::memcpy(&scale, in, sizeof scale);
  std::array<std::int8_t, block_size> multiples;
  std::memcpy(multiples.data(), in + sizeof scale, count);
  for (std::size_t i = 0; i < count; ++i) values[i] = scale * static_cast<float>(multiples[i]);
}

}  // namespace

std::size_t coded_bytes(Codec codec, DType dtype, std::size_t count) {
  switch (codec) {
    case Codec::Exact: break;
    case Codec::BF16: return count * 2;
    case Codec::Int8: return count + (count + block_size - 1) / block_size * sizeof(float);
  }
  return count * size_of(dtype);
}

void write_rounded(Codec codec, const float* values, std::size_t count, float* residual, std::byte* out) {
  const auto write = codec == Codec::BF16 ? write_bf16 : write_int8;
  const auto read = codec == Codec::BF16 ? read_bf16 : read_int8;
  alignas(64) std::array<float, block_size> wanted, rounded;
  for (std::size_t begin = 0; begin < count; begin += block_size) {
    const std::size_t size = std::min(block_size, count - begin);
    if (residual == nullptr) {
      write(values + begin, size, out);
    } else {
      for (std::size_t i = 0; i < size; ++i) wanted[i] = values[begin + i] + residual[begin + i];
      write(wanted.data(), size, out);
      read(out, size, rounded.data());
      for (std::size_t i = 0; i < size; ++i) residual[begin + i] = wanted[i] - rounded[i];
    }
    out += coded_bytes(codec, DType::F32, size);
  }
}

void read_rounded(Codec codec, const std::byte* in, std::size_t count, float* values) {
  const auto read = codec == Codec::BF16 ? read_bf16 : read_int8;
  for (std::size_t begin = 0; begin < count; begin += block_size) {
    const std::size_t size = std::min(block_size, count - begin);
    read(in, size, values + begin);
    in += coded_bytes(codec, DType::F32, size);
  }
}

}  // namespace sparknet::detail
