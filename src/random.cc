#include "sparknet/random.h"

#include <cmath>
#include <numbers>

namespace sparknet {

std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t sequence, std::uint64_t index) {
  std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(sequence), c3 = static_cast<std::uint32_t>(sequence >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

std::uint32_t Random::bits() {
  if (position_ % 4 == 0) block_ = philox(seed_, sequence_, position_ / 4);
  return block_[position_++ % 4];
}

double Random::uniform() {
  const std::uint64_t high = bits(), low = bits();
  return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
}

double Random::gaussian() {
  const double u = 1 - uniform(), v = uniform();  // 1 - u is in (0, 1], where the logarithm is finite
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

std::uint64_t Random::below(std::uint64_t bound) {
  if (bound <= UINT32_MAX) {
    const std::uint32_t range = static_cast<std::uint32_t>(bound), reject = (0U - range) % range;
    while (true) {
      const std::uint64_t product = std::uint64_t{bits()} * range;
      if (static_cast<std::uint32_t>(product) >= reject) return product >> 32;
    }
  }
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  while (true) {
    const std::uint64_t high = bits(), word = high << 32 | bits();
    if (word < limit) return word % bound;
  }
}

}  // namespace sparknet
