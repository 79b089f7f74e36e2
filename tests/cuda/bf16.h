#pragma once

// BF16 on a GPU beside doubles: numbers that BF16 holds go in, and what comes out is held to definitions in double.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
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

template <>
struct sparknet::DTypeOf<sparknet::kernels::Half> {
  static constexpr DType value = DType::BF16;
};

namespace sparknet::kernels {

/// What parameters, their gradients and states are of beside arrays of T.
template <class T>
using Beside = std::conditional_t<std::is_same_v<T, Half>, float, T>;

template <class T, class From>
Array<T> converted(const Array<From>& from) {
  Array<T> to(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(static_cast<double>(from[i]));
  return to;
}

/// Random numbers that BF16 holds, the same in every type.
template <class T>
Array<T> half_numbers(std::size_t size, unsigned seed, double low = -1, double high = 1) {
  return converted<T>(random_array<Half>(size, seed, low, high));
}

/// Random numbers that F32 holds and BF16 does not, the same in F32 and F64.
template <class T>
Array<T> float_numbers(std::size_t size, unsigned seed, double low = -1, double high = 1) {
  return converted<T>(random_array<float>(size, seed, low, high));
}

/// How far off numbers in BF16 are, one rounding of the result being 1: half a unit of its last place, and what
/// arithmetic in F32 rounds at numbers as large as the largest. Infinite where NaN or infinity is not as expected.
inline double roundings(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double largest = 0, worst = 0;
  for (const double value : expected) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(got[i]) != std::isnan(expected[i])) return INFINITY;
    if (std::isnan(got[i]) || got[i] == expected[i]) continue;
    const double half_of_last =
        std::isfinite(expected[i]) ? std::ldexp(1, std::max(std::ilogb(expected[i]), -126) - 8) : 0;
    worst = std::max(worst, std::abs(got[i] - expected[i]) / (half_of_last + 2e-6 * largest));
  }
  return worst;
}

}  // namespace sparknet::kernels
