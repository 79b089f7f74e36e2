#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute.

template <class T>
void softmax(Engine& engine, const SoftmaxShape& shape, const T* x, T* y);
template <class T>
void softmax_backward(Engine& engine, const SoftmaxShape& shape, const T* y, const T* dy, T* dx);

}  // namespace sparknet::kernels::cpu
