#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// See Backend.
template <class T>
void im2col(Engine& engine, const WindowShape& shape, const T* x, T* columns);
template <class T>
void col2im(Engine& engine, const WindowShape& shape, const T* columns, T* x);

extern template void im2col(Engine&, const WindowShape&, const float*, float*);
extern template void im2col(Engine&, const WindowShape&, const double*, double*);
extern template void col2im(Engine&, const WindowShape&, const float*, float*);
extern template void col2im(Engine&, const WindowShape&, const double*, double*);

}  // namespace sparknet::kernels::cpu
