#pragma once

#include <cmath>

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {

constexpr Index kIgnored = -1, kBad = -2;

/// The number of the class that a label names, or one of those above.
template <class T>
__device__ Index read_label(T label, Index classes, bool has_ignore, Index ignore) {
  const double value = static_cast<double>(label);
  if (has_ignore && value == static_cast<double>(ignore)) return kIgnored;
  // NaN fails the first comparison.
  if (!(value >= 0 && value < static_cast<double>(classes)) || value != std::floor(value)) return kBad;
  return static_cast<Index>(value);
}

/// The lesser of two numbers of examples, of which -1 stands for none.
struct First {
  __device__ Index operator()(Index a, Index b) const { return a < 0 || (b >= 0 && b < a) ? b : a; }
};

}  // namespace sparknet::kernels::cuda
