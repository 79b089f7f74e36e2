#pragma once

#include "kernels/kernels.h"

namespace sparknet::kernels::cpu {

/// Elements below which waking the crew costs more than it saves.
Index map_worth(MapKind kind);

template <class T>
void map(const Map& map, Index n, const T* x, T* y);

/// `operand` is x or y, as slope_operand(map) says.
template <class T>
void map_backward(const Map& map, Index n, const T* operand, const T* dy, T* dx);

}  // namespace sparknet::kernels::cpu
