#pragma once

#include "kernels/kernels.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute.

template <class T>
Index accuracy(const AccuracyPass& pass);
template <class T>
void arg_max(const ArgMaxShape& shape, const T* x, T* y);

}  // namespace sparknet::kernels::cpu
