#include "kernels/cpu/embed.h"

#include <algorithm>

#include "kernels/cpu/labels.h"

namespace sparknet::kernels::cpu {

template <class T>
Index embed(Engine& engine, const EmbedShape& shape, const T* indices, const T* weights, const T* bias, T* y) {
  const Index n = shape.num_output;
  for (Index i = 0; i < shape.count; ++i) {
    Index row = 0;
    if (read_label(indices[i], shape.input_dim, false, 0, row) != Label::Good) return i;
  }
  const auto& hot = table<T>(engine);
  for_ranges(engine.team, shape.count, 1, 1 + kWorthWaking / std::max<Index>(1, n), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      std::copy_n(weights + static_cast<Index>(indices[i]) * n, n, y + i * n);
      if (bias) hot.axpy(n, T(1), bias, y + i * n);
    }
  });
  return -1;
}

template <class T>
void embed_backward(
    Engine& engine, const EmbedShape& shape, const T* indices, const T* dy, T* dweights, T* dbias, bool accumulate) {
  const Index n = shape.num_output;
  const auto& hot = table<T>(engine);
  if (dweights && !accumulate) {
    for_ranges(engine.team, shape.input_dim * n, 64, kWorthWaking, [&](Index begin, Index end) {
      std::fill(dweights + begin, dweights + end, T(0));
    });
  }
  // Threads share the columns, so that each sum is made by one of them, in the order of the examples.
  constexpr Index kUnit = 64 / static_cast<Index>(sizeof(T));
  for_ranges(engine.team, n, kUnit, 1 + kWorthWaking / std::max<Index>(1, shape.count), [&](Index begin, Index end) {
    if (dbias && !accumulate) std::fill(dbias + begin, dbias + end, T(0));
    for (Index i = 0; i < shape.count; ++i) {
      const T* const from = dy + i * n + begin;
      if (dweights) hot.axpy(end - begin, T(1), from, dweights + static_cast<Index>(indices[i]) * n + begin);
      if (dbias) hot.axpy(end - begin, T(1), from, dbias + begin);
    }
  });
}

#define SPARKNET_EMBED(T)                                                             \
  template Index embed(Engine&, const EmbedShape&, const T*, const T*, const T*, T*); \
  template void embed_backward(Engine&, const EmbedShape&, const T*, const T*, T*, T*, bool);
SPARKNET_EMBED(float)
SPARKNET_EMBED(double)
#undef SPARKNET_EMBED

}  // namespace sparknet::kernels::cpu
