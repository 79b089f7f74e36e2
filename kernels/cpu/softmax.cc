#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <cmath>

namespace sparknet::kernels::cpu {
namespace {

/// Elements below which waking the crew costs more than it saves.
constexpr Index kWorth = 4096;

/// Calls f(first element) for each distribution; its elements are shape.inner apart.
template <class F>
void for_distributions(Engine& engine, const SoftmaxShape& shape, F&& f) {
  const Index worth = 1 + kWorth / std::max<Index>(1, shape.classes);
  for_ranges(engine.team, shape.outer * shape.inner, 1, worth, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) f(i / shape.inner * shape.classes * shape.inner + i % shape.inner);
  });
}

}  // namespace

template <class T>
void softmax(Engine& engine, const SoftmaxShape& shape, const T* x, T* y) {
  const Index step = shape.inner, end = shape.classes * step;
  for_distributions(engine, shape, [&](Index at) {
    const T* const from = x + at;
    T* const to = y + at;
    T largest = from[0];
    for (Index j = step; j < end; j += step) largest = std::max(largest, from[j]);
    T total = 0;
    for (Index j = 0; j < end; j += step) {
      to[j] = std::exp(from[j] - largest);
      total += to[j];
    }
    const T factor = T(1) / total;
    for (Index j = 0; j < end; j += step) to[j] *= factor;
  });
}

template <class T>
void softmax_backward(Engine& engine, const SoftmaxShape& shape, const T* y, const T* dy, T* dx) {
  const Index step = shape.inner, end = shape.classes * step;
  for_distributions(engine, shape, [&](Index at) {
    T dot = 0;
    for (Index j = at; j < at + end; j += step) dot += y[j] * dy[j];
    for (Index j = at; j < at + end; j += step) dx[j] = (dy[j] - dot) * y[j];
  });
}

#define SPARKNET_SOFTMAX(T)                                          \
  template void softmax(Engine&, const SoftmaxShape&, const T*, T*); \
  template void softmax_backward(Engine&, const SoftmaxShape&, const T*, const T*, T*);
SPARKNET_SOFTMAX(float)
SPARKNET_SOFTMAX(double)
#undef SPARKNET_SOFTMAX

}  // namespace sparknet::kernels::cpu
