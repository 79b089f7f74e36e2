#include "kernels/cpu/ranking.h"

#include <algorithm>

#include "kernels/cpu/labels.h"

namespace sparknet::kernels::cpu {
namespace {

template <class T>
T ratio(Index part, Index all) {
  return all == 0 ? T(0) : static_cast<T>(static_cast<double>(part) / static_cast<double>(all));
}

}  // namespace

/// Returns the verdict.
template <class T>
Index accuracy(const AccuracyPass& pass) {
  const auto [outer, classes, inner] = pass.shape;
  const T *const scores = static_cast<const T*>(pass.scores), *const labels = static_cast<const T*>(pass.labels);
  // Of all, and of each class.
  Index* const counted = pass.scratch;
  Index* const right = counted + 1 + classes;
  std::fill_n(counted, accuracy_scratch(pass.shape), 0);
  for (Index i = 0; i < outer * inner; ++i) {
    Index label = 0;
    const Label kind = read_label(labels[i], classes, pass.has_ignore, pass.ignore, label);
    if (kind == Label::Bad) return i;
    if (kind == Label::Ignored) continue;
    const T* const score = scores + i / inner * classes * inner + i % inner;
    const T own = score[label * inner];
    Index as_good = -1;  // its own score is one of those
    for (Index c = 0; c < classes && as_good < pass.top_k; ++c) as_good += !(score[c * inner] < own);
    const bool is_right = as_good < pass.top_k;
    for (const Index group : {Index{0}, 1 + label}) {
      ++counted[group];
      right[group] += is_right;
    }
  }
  *static_cast<T*>(pass.share) = ratio<T>(right[0], counted[0]);
  for (Index c = 0; c < classes && pass.class_shares; ++c)
    static_cast<T*>(pass.class_shares)[c] = ratio<T>(right[1 + c], counted[1 + c]);
  return -1;
}

template <class T>
void arg_max(const ArgMaxShape& shape, const T* x, T* y) {
  const Index inner = shape.inner, k = shape.top_k;
  const bool pairs = shape.top == ArgMaxShape::Top::Pairs;
  for (Index i = 0; i < shape.outer * inner; ++i) {
    const T* const from = x + i / inner * shape.count * inner + i % inner;
    T* const to = y + i / inner * (pairs ? 2 * k : k) * inner + i % inner;
    const auto before = [&](Index a, Index b) {
      const T u = from[a * inner], v = from[b * inner];
      const bool u_nan = u != u, v_nan = v != v;
      if (u_nan != v_nan) return u_nan;
      return u > v || (!(v > u) && a > b);
    };
    Index last = -1;
    for (Index j = 0; j < k; ++j) {
      Index best = -1;
      for (Index c = 0; c < shape.count; ++c)
        if ((last < 0 || before(last, c)) && (best < 0 || before(c, best))) best = c;
      const T value = from[best * inner];
      to[j * inner] = shape.top == ArgMaxShape::Top::Values ? value : static_cast<T>(best);
      if (pairs) to[k + j] = value;
      last = best;
    }
  }
}

#define SPARKNET_RANKING(T)                        \
  template Index accuracy<T>(const AccuracyPass&); \
  template void arg_max(const ArgMaxShape&, const T*, T*);
SPARKNET_RANKING(float)
SPARKNET_RANKING(double)
#undef SPARKNET_RANKING

}  // namespace sparknet::kernels::cpu
