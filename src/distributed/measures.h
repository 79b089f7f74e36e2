#pragma once

#include "sparknet/tensor.h"

namespace sparknet::detail {

/// Of dense f32 and f64 tensors.
bool is_finite(const Tensor& values);
/// The sum of (a - b)^2, in double.
double squared_distance(const Tensor& a, const Tensor& b);

}  // namespace sparknet::detail
