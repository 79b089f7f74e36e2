#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

namespace sparknet::kernels::cuda {

/// An element of BF16 in memory: the upper half of a float. It is computed with as a float.
class Bf16 {
 public:
  Bf16() = default;
  /// The nearest, and of two the even one; NaN stays.
  explicit __device__ Bf16(float value) {
#ifdef __CUDACC__
    const __nv_bfloat16 rounded = __float2bfloat16_rn(value);
    std::memcpy(&bits_, &rounded, sizeof bits_);
#else
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value == value)
      bits += 0x7fff + (bits >> 16 & 1);
    else
      bits |= 0x400000;  // as a NaN whose fraction is in the lower half would become infinite
    bits_ = static_cast<std::uint16_t>(bits >> 16);
#endif
  }
  explicit __device__ Bf16(double value) : Bf16(static_cast<float>(value)) {}

  __device__ operator float() const {
    const std::uint32_t bits = static_cast<std::uint32_t>(bits_) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

 private:
  std::uint16_t bits_;
};

/// What elements of a type are computed in, and what the parameters beside them are.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;

}  // namespace sparknet::kernels::cuda
