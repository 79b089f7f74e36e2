#pragma once

#include "kernels/kernels.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// What a tensor of a backend's holds, on the host: itself where it is there, or a copy.
inline Tensor to_host(kernels::Backend& backend, const Tensor& tensor) {
  if (backend.on_host()) return tensor;
  Tensor copy(tensor.shape(), tensor.dtype());
  backend.read(copy.raw(), tensor.raw(), tensor.bytes());
  return copy;
}

}  // namespace sparknet
