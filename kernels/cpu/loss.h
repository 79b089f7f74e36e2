#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute; all arrays are of type T.

template <class T>
void loss(Engine& engine, const LossPass& pass, T* y, LossState* state, Index* verdict);
template <class T>
void loss_backward(Engine& engine, const LossPass& pass, double factor, const T* dy, const LossState* state, T* dx);

}  // namespace sparknet::kernels::cpu
