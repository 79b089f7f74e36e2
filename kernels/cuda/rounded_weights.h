#pragma once

#include "kernels/cuda/backend.h"

namespace sparknet::kernels::cuda {

/// Of an array of BF16 in the scratch, in whole 64 bytes.
inline std::size_t bf16_bytes(Index count) {
  return (static_cast<std::size_t>(count) * size_of(DType::BF16) + 63) / 64 * 64;
}

/// Weights as a product of a plan takes them: beside BF16 they are F32 in memory, and rounded into the scratch first.
class RoundedWeights {
 public:
  /// `dtype` is the plan's.
  RoundedWeights(CudaBackend& backend, DType dtype, Index count)
      : backend_(backend), rounds_(dtype == DType::BF16), dtype_(rounds_ ? DType::F32 : dtype), count_(count) {}

  /// Of the weights in memory, and of their gradient.
  DType dtype() const { return dtype_; }
  /// What the scratch begins with.
  std::size_t bytes() const { return rounds_ ? bf16_bytes(count_) : 0; }
  void* behind(void* scratch) const { return static_cast<char*>(scratch) + bytes(); }

  const void* round(const void* weights, void* scratch) const {
    if (!rounds_) return weights;
    backend_.convert(DType::F32, DType::BF16, count_, weights, scratch);
    return scratch;
  }

 private:
  CudaBackend& backend_;
  bool rounds_;
  DType dtype_;
  Index count_;
};

}  // namespace sparknet::kernels::cuda
