#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute.

template <class T>
Index embed(Engine& engine, const EmbedShape& shape, const T* indices, const T* weights, const T* bias, T* y);
template <class T>
void embed_backward(
    Engine& engine, const EmbedShape& shape, const T* indices, const T* dy, T* dweights, T* dbias, bool accumulate);

}  // namespace sparknet::kernels::cpu
