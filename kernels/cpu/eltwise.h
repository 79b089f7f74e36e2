#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// Elements [at, at + n) of y = act(op over `inputs` arrays of T); y is all of the output.
template <class T>
void eltwise(
    const HotTable<T>& hot, EltwiseOp op, Index at, Index n, int inputs, const void* const* x, const double* coeff,
    Activation activation, T* y);

/// Elements [at, at + n) of the gradient of input number `input`; dy and dx are whole arrays.
template <class T>
void eltwise_backward(
    const HotTable<T>& hot, EltwiseOp op, Index at, Index n, int inputs, const void* const* x, const double* coeff,
    int input, const T* dy, T* dx);

}  // namespace sparknet::kernels::cpu
