#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// What a tensor of a backend's holds, on the host: itself where it is there, or a copy, in F32 where it is in BF16.
inline Tensor to_host(kernels::Backend& backend, const Tensor& tensor) {
  if (backend.on_host()) return tensor;
  const bool widens = tensor.dtype() == DType::BF16;
  Tensor copy(tensor.shape(), widens ? DType::F32 : tensor.dtype());
  backend.read(copy.raw(), tensor.raw(), tensor.bytes());
  // From the last on, as a number takes the place of two.
  for (std::size_t i = widens ? static_cast<std::size_t>(copy.count()) : 0; i-- > 0;) {
    std::uint16_t upper;
    std::memcpy(&upper, copy.raw() + i * sizeof upper, sizeof upper);
    const std::uint32_t word = std::uint32_t{upper} << 16;
    std::memcpy(copy.raw() + i * sizeof word, &word, sizeof word);
  }
  return copy;
}

}  // namespace sparknet
