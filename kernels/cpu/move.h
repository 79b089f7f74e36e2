#pragma once

#include <cstddef>

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// As the functions of the same names in kernels.h.

template <class T>
void copy_box(ThreadTeam& team, const Box& box, const T* from, T* to);

template <class T>
void sum_box(ThreadTeam& team, const Box& box, const T* from, T* to);

}  // namespace sparknet::kernels::cpu
