#pragma once

#include "kernels/cuda/backend.h"

namespace sparknet::kernels::cuda {

/// Weights as a pass of a plan takes them and makes their gradient: beside BF16 they are F32 in memory and rounded into
/// the scratch first, and where images are NHWC the channels of a filter are its last axis.
class PassWeights {
 public:
  /// `dtype` is the plan's. Of [outer][rows][columns] in memory, which with `transposes` are [outer][columns][rows] for
  /// the pass.
  PassWeights(
      CudaBackend& backend, DType dtype, Index outer, Index rows = 1, Index columns = 1, bool transposes = false)
      : backend_(backend),
        pass_dtype_(dtype),
        dtype_(dtype == DType::BF16 ? DType::F32 : dtype),
        outer_(outer),
        rows_(rows),
        columns_(columns),
        transposes_(transposes && rows > 1 && columns > 1) {}

  /// Of the weights in memory, and of their gradient.
  DType dtype() const { return dtype_; }
  /// What the scratch begins with; 0 where a pass takes the weights as they lie in memory.
  std::size_t bytes() const {
    if (pass_dtype_ == dtype_ && !transposes_) return 0;
    return (static_cast<std::size_t>(outer_ * rows_ * columns_) * size_of(pass_dtype_) + 63) / 64 * 64;
  }
  void* behind(void* scratch) const { return static_cast<char*>(scratch) + bytes(); }

  /// The weights for a pass.
  const void* take(const void* weights, void* scratch) const {
    if (bytes() == 0) return weights;
    if (transposes_)
      backend_.transpose(dtype_, pass_dtype_, outer_, rows_, columns_, weights, scratch);
    else
      backend_.convert(dtype_, pass_dtype_, outer_ * rows_ * columns_, weights, scratch);
    return scratch;
  }
  /// Where bytes() is not 0: makes, or adds to, `gradient` as it is in memory of what a pass left in the scratch.
  void give(Context& context, const void* scratch, void* gradient, bool accumulate) const;

 private:
  CudaBackend& backend_;
  DType pass_dtype_, dtype_;
  Index outer_, rows_, columns_;
  bool transposes_;
};

}  // namespace sparknet::kernels::cuda
