#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute.

template <class T>
Index read_places(Index count, Index limit, const T* indices, Index* places);
template <class T>
void select(Index items, const T* selector, Index* places, Index* where, T* kept);
template <class T>
void gather_rows(Engine& engine, Index rows, Index columns, const Index* places, const T* from, T pad, T* to);
template <class T>
void scatter_rows(Engine& engine, Index count, Index columns, const Index* places, const T* from, Index rows, T* to);

}  // namespace sparknet::kernels::cpu
