#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {

struct FourWords {
  std::uint32_t word[4];
};

/// Block number `block` of the Philox4x32-10 stream (seed, sequence). Salmon, Moraes, Dror, Shaw 2011.
__device__ inline FourWords philox(std::uint64_t seed, std::uint64_t sequence, std::uint64_t block) {
  auto c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
  auto c2 = static_cast<std::uint32_t>(sequence), c3 = static_cast<std::uint32_t>(sequence >> 32);
  auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0, p1 = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace sparknet::kernels::cuda
