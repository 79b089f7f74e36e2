#pragma once

#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

/// What follows the sums of a convolution or an inner product: bias and activation of y[outer][channels][inner].
class Epilogue {
 public:
  Epilogue(Context& context, DType dtype, const ChannelShape& shape, Activation activation);

  /// Of a backward pass.
  std::size_t scratch_bytes() const;
  /// y = activation(y + bias[c]), in place; `bias` may be null.
  void forward(const void* bias, void* y) const;
  /// Makes the gradient before the activation of dy, in place, and adds it up for dbias, unless that is null. y is read
  /// only where there is an activation.
  void backward(const void* y, void* dy, void* dbias, bool accumulate, void* scratch) const;

 private:
  Context& context_;
  DType dtype_;
  ChannelShape shape_;
  bool relu_;
  double slope_;
  /// A block of threads goes along whole planes, or a thread through the images for one pixel. Scratch has the sums of
  /// `parts_` shares of the batch: those of the channels, or of each of their pixels.
  bool by_planes_;
  Index parts_;
  /// Whether there is nothing left to be added up.
  bool whole_;
};

}  // namespace sparknet::kernels::cuda
