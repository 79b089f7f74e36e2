#pragma once

#include <string>

#include "sparknet/tensor.h"

namespace sparknet::detail {

/// What every group refuses, in the same words. These throw.
void check_dense(const Tensor& values);
void check_summable(DType dtype);
void check_root(int root, int size);

/// "worker 1 brings a tensor f32 [4] and worker 0 one f32 [3]"; empty where the two agree.
std::string find_mismatch(
    int rank, DType dtype, const Shape& shape, int model, DType wanted_dtype, const Shape& wanted_shape);

}  // namespace sparknet::detail
