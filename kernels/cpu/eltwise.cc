#include "kernels/cpu/eltwise.h"

#include <algorithm>

namespace sparknet::kernels::cpu {
namespace {

/// Elements worked on at a time: every input is read once, and what is made of them stays in the cache.
constexpr Index kBlock = 1024;

/// NaN beats every number and nothing beats NaN.
template <class T>
bool beats(T value, T best) {
  return value > best || (value != value && best == best);
}

template <class T>
const T* array(const void* const* x, int input, Index at) {
  return static_cast<const T*>(x[input]) + at;
}

template <class T>
void eltwise_block(
    const HotTable<T>& hot, EltwiseOp op, Index at, Index n, int inputs, const void* const* x, const double* coeff,
    Activation activation, T* y) {
  // In a buffer of its own, because y may be any of the inputs.
  T result[kBlock];
  const T* const first = array<T>(x, 0, at);
  if (op == EltwiseOp::Sum) {
    hot.scale(n, static_cast<T>(coeff[0]), first, result);
  } else {
    std::copy_n(first, n, result);
  }
  for (int i = 1; i < inputs; ++i) {
    const T* const next = array<T>(x, i, at);
    switch (op) {
      case EltwiseOp::Sum: hot.axpy(n, static_cast<T>(coeff[i]), next, result); break;
      case EltwiseOp::Product: hot.multiply(n, result, next, result); break;
      case EltwiseOp::Max: hot.maximum(n, result, next, result); break;
    }
  }
  if (activation.relu)
    hot.relu(n, static_cast<T>(activation.negative_slope), result, y + at);
  else
    std::copy_n(result, n, y + at);
}

template <class T>
void max_backward(Index at, Index n, int inputs, const void* const* x, int input, const T* dy, T* dx) {
  for (Index i = at; i < at + n; ++i) {
    const T value = array<T>(x, input, 0)[i];
    // The winner is the first that none before it beats or equals and none behind it beats.
    bool wins = true;
    for (int other = 0; other < inputs && wins; ++other) {
      const T rival = array<T>(x, other, 0)[i];
      if (other < input) wins = beats(value, rival);
      if (other > input) wins = !beats(rival, value);
    }
    dx[i] = wins ? dy[i] : T(0);
  }
}

}  // namespace

template <class T>
void eltwise(
    const HotTable<T>& hot, EltwiseOp op, Index at, Index n, int inputs, const void* const* x, const double* coeff,
    Activation activation, T* y) {
  for (Index i = 0; i < n; i += kBlock) {
    eltwise_block(hot, op, at + i, std::min(kBlock, n - i), inputs, x, coeff, activation, y);
  }
}

template <class T>
void eltwise_backward(
    const HotTable<T>& hot, EltwiseOp op, Index at, Index n, int inputs, const void* const* x, const double* coeff,
    int input, const T* dy, T* dx) {
  switch (op) {
    case EltwiseOp::Sum: hot.scale(n, static_cast<T>(coeff[input]), dy + at, dx + at); break;
    case EltwiseOp::Product:
      if (dx != dy) std::copy_n(dy + at, n, dx + at);
      for (int other = 0; other < inputs; ++other) {
        if (other != input) hot.multiply(n, dx + at, array<T>(x, other, at), dx + at);
      }
      break;
    case EltwiseOp::Max: max_backward(at, n, inputs, x, input, dy, dx); break;
  }
}

#define SPARKNET_ELTWISE(T)                                                                                     \
  template void                                                                                                 \
  eltwise(const HotTable<T>&, EltwiseOp, Index, Index, int, const void* const*, const double*, Activation, T*); \
  template void eltwise_backward(                                                                               \
      const HotTable<T>&,                                                                                       \
      EltwiseOp,                                                                                                \
      Index,                                                                                                    \
      Index,                                                                                                    \
      int,                                                                                                      \
      const void* const*,                                                                                       \
      const double*,                                                                                            \
      int,                                                                                                      \
      const T*,                                                                                                 \
      T*);
SPARKNET_ELTWISE(float)
SPARKNET_ELTWISE(double)
#undef SPARKNET_ELTWISE

}  // namespace sparknet::kernels::cpu
