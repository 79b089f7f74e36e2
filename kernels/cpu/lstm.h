#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

// See Backend for what these compute.

template <class T>
void lstm(Engine& engine, const LstmShape& shape, const LstmForward& args);
template <class T>
void lstm_backward(Engine& engine, const LstmShape& shape, const LstmBackward& args);
template <class T>
void gate_rows(Engine& engine, Index rows, Index columns, const T* gate, const T* x, T* y);

}  // namespace sparknet::kernels::cpu
