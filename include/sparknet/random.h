#pragma once

#include <array>
#include <cstdint>

namespace sparknet {

/// The Philox4x32-10 block function: 128 random bits for each (seed, sequence, index), with no state between calls.
/// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t sequence, std::uint64_t index);

/// A stream of random numbers that is a pure function of (seed, sequence): equal pairs give equal streams on every
/// machine, and its whole state is the position in it.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t sequence = 0) : seed_(seed), sequence_(sequence) {}

  /// 32 uniform random bits.
  std::uint32_t bits();
  /// Uniform in [0, 1), with 53 random bits.
  double uniform();
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Normal with mean 0 and standard deviation 1 (Box and Muller 1958).
  double gaussian();
  /// Uniform in [0, bound), without bias (Lemire 2019); `bound` > 0.
  std::uint64_t below(std::uint64_t bound);

 private:
  std::uint64_t seed_, sequence_;
  std::uint64_t position_ = 0;  // in words
  std::array<std::uint32_t, 4> block_{};
};

}  // namespace sparknet
