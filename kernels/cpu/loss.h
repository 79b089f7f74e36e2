#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See LossPass for what these compute; all arrays are of type T.

/// `parts` holds a result for each thread.
template <class T>
LossResult loss(Engine& engine, const LossPass& pass, LossResult* parts);
template <class T>
void loss_backward(Engine& engine, const LossPass& pass, T scale, T* dx);

}  // namespace sparknet::kernels::cpu
