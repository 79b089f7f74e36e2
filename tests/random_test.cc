#include "sparknet/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

using sparknet::philox;
using sparknet::Random;

TEST_CASE("philox gives the known answers of Random123") {
  using Block = std::array<std::uint32_t, 4>;
  CHECK(philox(0, 0, 0) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  CHECK(philox(ones, ones, ones) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // The counter is index, then sequence; the lower word is the first.
  CHECK(
      philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
      Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a random stream is the blocks of its seed and sequence, one after the other") {
  Random random(7, 9);
  for (std::uint64_t index = 0; index < 5; ++index)
    for (const std::uint32_t word : philox(7, 9, index)) CHECK(random.bits() == word);

  Random copy = random;
  CHECK(copy.bits() == random.bits());
  CHECK(Random(7, 9).bits() != Random(7, 10).bits());
  CHECK(Random(7, 9).bits() != Random(8, 9).bits());
}

TEST_CASE("uniform numbers have the moments of the uniform distribution") {
  Random random(1);
  constexpr int n = 200'000;
  double sum = 0, squares = 0, lowest = 1, highest = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.uniform();
    sum += x;
    squares += x * x;
    lowest = std::min(lowest, x);
    highest = std::max(highest, x);
  }
  // Five standard errors of each mean.
  CHECK(std::abs(sum / n - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(squares / n - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  CHECK(lowest >= 0);
  CHECK(lowest < 1e-4);
  CHECK(highest < 1);
  CHECK(highest > 1 - 1e-4);

  for (int i = 0; i < 1000; ++i) {
    const double x = random.uniform(-3, 5);
    CHECK_UNARY(x >= -3 && x < 5);
  }
}

TEST_CASE("gaussian numbers have the moments and the tails of the normal distribution") {
  Random random(2, 3);
  constexpr int n = 200'000;
  double moments[5] = {};
  int within_one = 0, beyond_three = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.gaussian();
    REQUIRE(std::isfinite(x));
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(x, k) / n;
    within_one += std::abs(x) < 1;
    beyond_three += std::abs(x) > 3;
  }
  CHECK(std::abs(moments[1]) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(moments[2] - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(moments[3]) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(moments[4] - 3) < 5 * std::sqrt(96.0 / n));
  CHECK(std::abs(within_one / double(n) - 0.682689) < 0.006);
  CHECK(std::abs(beyond_three / double(n) - 0.0026998) < 0.0006);
}

TEST_CASE("below is uniform for small bounds and stays below large ones") {
  for (const std::uint64_t bound : std::array<std::uint64_t, 6>{1, 2, 3, 7, 10, 100}) {
    CAPTURE(bound);
    Random random(bound, 4);
    std::vector<double> seen(bound);
    const double expected = 2000;
    for (std::uint64_t i = 0; i < bound * 2000; ++i) {
      const std::uint64_t x = random.below(bound);
      REQUIRE(x < bound);
      ++seen[x];
    }
    double chi_squared = 0;
    for (const double count : seen) chi_squared += (count - expected) * (count - expected) / expected;
    const double freedom = static_cast<double>(bound) - 1;
    CHECK(chi_squared <= freedom + 5 * std::sqrt(2 * freedom) + 5);
  }

  // Three quarters of 2^32: without rejection the lowest numbers come twice as often as the others.
  Random random(5);
  constexpr std::uint64_t three_quarters = 3ULL << 30;
  int low = 0;
  for (int i = 0; i < 30'000; ++i) low += random.below(three_quarters) < (1ULL << 30);
  CHECK(std::abs(low - 10'000) < 5 * 82);

  constexpr std::uint64_t wide = (1ULL << 63) + 12345;
  int upper_half = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t x = random.below(wide);
    REQUIRE(x < wide);
    upper_half += x >= wide / 2;
  }
  CHECK(std::abs(upper_half - 5000) < 5 * 50);
}
