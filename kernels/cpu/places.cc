#include "kernels/cpu/places.h"

#include <algorithm>

#include "kernels/cpu/labels.h"

namespace sparknet::kernels::cpu {

/// Returns the verdict.
template <class T>
Index read_places(Index count, Index limit, const T* indices, Index* places) {
  Index bad = -1;
  for (Index i = count; i-- > 0;) {
    places[i] = 0;
    if (read_label(indices[i], limit, false, 0, places[i]) != Label::Good) bad = i;
  }
  return bad;
}

template <class T>
void select(Index items, const T* selector, Index* places, Index* where, T* kept) {
  Index next = 0;
  for (Index i = 0; i < items; ++i) {
    where[i] = selector[i] != T(0) ? next : -1;
    if (where[i] >= 0) places[next++] = i;
  }
  std::fill(places + next, places + items, Index{-1});
  if (kept) *kept = static_cast<T>(next);
}

template <class T>
void gather_rows(Engine& engine, Index rows, Index columns, const Index* places, const T* from, T pad, T* to) {
  for_ranges(engine.team, rows, 1, 1 + kWorthWaking / std::max<Index>(1, columns), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      if (places[i] < 0)
        std::fill_n(to + i * columns, columns, pad);
      else
        std::copy_n(from + places[i] * columns, columns, to + i * columns);
    }
  });
}

template <class T>
void scatter_rows(Engine& engine, Index count, Index columns, const Index* places, const T* from, Index rows, T* to) {
  std::fill_n(to, rows * columns, T(0));
  for (Index i = 0; i < count; ++i) table<T>(engine).axpy(columns, T(1), from + i * columns, to + places[i] * columns);
}

#define SPARKNET_PLACES(T)                                                         \
  template Index read_places(Index, Index, const T*, Index*);                      \
  template void select(Index, const T*, Index*, Index*, T*);                       \
  template void gather_rows(Engine&, Index, Index, const Index*, const T*, T, T*); \
  template void scatter_rows(Engine&, Index, Index, const Index*, const T*, Index, T*);
SPARKNET_PLACES(float)
SPARKNET_PLACES(double)
#undef SPARKNET_PLACES

}  // namespace sparknet::kernels::cpu
