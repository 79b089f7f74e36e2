#pragma once

// BF16 on a GPU beside doubles: numbers that BF16 holds go in, and what comes out is held to definitions in double.

#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/kernels_test.h"

namespace sparknet::kernels {

/// An element of BF16 where the host looks at it.
struct Half {
  Half() = default;
  /// The nearest, and of two the even one.
  explicit Half(double value) {
    const auto narrow = static_cast<float>(value);
    std::uint32_t word;
    std::memcpy(&word, &narrow, sizeof word);
    bits = static_cast<std::uint16_t>(narrow == narrow ? (word + 0x7fff + (word >> 16 & 1)) >> 16 : word >> 16 | 0x40);
  }
  operator double() const {
    const std::uint32_t word = std::uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return static_cast<double>(value);
  }

  std::uint16_t bits = 0;
};

/// A rounding to BF16, as a share of the number; several of them add up.
constexpr double kHalfUnit = 1.0 / 256;

}  // namespace sparknet::kernels
