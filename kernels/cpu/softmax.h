#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute; x, y and labels are of type T.

template <class T>
void softmax(Engine& engine, const SoftmaxShape& shape, const T* x, T* y);
template <class T>
void softmax_backward(Engine& engine, const SoftmaxShape& shape, const T* y, const T* dy, T* dx);
template <class T>
LossResult softmax_loss(const SoftmaxShape& shape, const T* prob, const T* labels, bool has_ignore, Index ignore);
template <class T>
void softmax_loss_backward(
    Engine& engine, const SoftmaxShape& shape, const T* prob, const T* labels, bool has_ignore, Index ignore, T scale,
    T* dx);

}  // namespace sparknet::kernels::cpu
