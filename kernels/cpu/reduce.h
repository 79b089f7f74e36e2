#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// See Backend::reduce.
template <class T>
void reduce(Engine& engine, ReduceOp op, Index outer, Index inner, double scale, const T* x, T* y);
/// See Backend::reduce_backward.
template <class T>
void reduce_backward(
    Engine& engine, ReduceOp op, Index outer, Index inner, double scale, const T* x, const T* dy, T* dx);

}  // namespace sparknet::kernels::cpu
