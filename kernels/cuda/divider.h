#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/kernels.h"

namespace sparknet::kernels::cuda {

/// Divides numbers below 2^31 by one that is known beforehand, with a multiplication. Granlund and Montgomery 1994.
class Divider {
 public:
  /// Of a divisor below 2^31; what is not positive is taken for 1, as nothing is divided by it.
  explicit Divider(Index divisor = 1) : divisor_(divisor > 0 ? static_cast<std::uint32_t>(divisor) : 1) {
    while (std::uint64_t{1} << shift_ < divisor_) ++shift_;
    const std::uint64_t power = std::uint64_t{1} << shift_;
    factor_ = static_cast<std::uint32_t>(((power - divisor_) << 32) / divisor_ + 1);
  }

  /// Whether all numbers below `count` may be divided.
  static bool can_divide(Index count) { return count <= Index{1} << 31; }

  __device__ std::uint32_t quotient(std::uint32_t number) const {
    const auto high = static_cast<std::uint32_t>(static_cast<std::uint64_t>(number) * factor_ >> 32);
    return (high + number) >> shift_;
  }
  __device__ std::uint32_t remainder(std::uint32_t number) const { return number - quotient(number) * divisor_; }

 private:
  std::uint32_t divisor_, factor_ = 0, shift_ = 0;
};

}  // namespace sparknet::kernels::cuda
