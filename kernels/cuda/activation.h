#pragma once

#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

/// What follows the sums of a convolution or an inner product: bias and activation of y[outer][channels][inner].
class Epilogue {
 public:
  Epilogue(Context& context, DType dtype, const ChannelShape& shape, Activation activation)
      : context_(context), dtype_(dtype), shape_(shape), activation_(activation) {}

  /// y = activation(y + bias[c]), in place; `bias` may be null.
  void forward(const void* bias, void* y) const;
  /// Makes the gradient before the activation of dy, in place, and adds it up for dbias, unless that is null. y is read
  /// only where there is an activation.
  void backward(const void* y, void* dy, void* dbias, bool accumulate) const;

 private:
  Context& context_;
  DType dtype_;
  ChannelShape shape_;
  Activation activation_;
};

}  // namespace sparknet::kernels::cuda
