#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// Masks dy by y where there is an activation, and makes dbias where it is wanted: the sums over the positions of each
/// image, added up in the order of the images whatever the number of threads. `sums`: batch * outputs elements.
template <class T>
void mask_and_sum(
    Engine& engine, Index batch, Index outputs, Index positions, Activation activation, const BackwardArgs& args,
    T* sums);

extern template void mask_and_sum(Engine&, Index, Index, Index, Activation, const BackwardArgs&, float*);
extern template void mask_and_sum(Engine&, Index, Index, Index, Activation, const BackwardArgs&, double*);

}  // namespace sparknet::kernels::cpu
