#pragma once

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {

template <class T>
__device__ T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

/// A ReLU; a slope of 0 gives 0 and not slope * x, which is NaN where x is infinite.
template <class T>
__device__ T rectified(T x, T slope) {
  return x < T(0) ? (slope == T(0) ? T(0) : slope * x) : x;
}

/// The gradient dy through a ReLU whose x, or y, is `gate`.
template <class T>
__device__ T gated(T gate, T dy, T slope) {
  return gate > T(0) ? dy : (slope == T(0) ? T(0) : slope * dy);
}

}  // namespace sparknet::kernels::cuda
