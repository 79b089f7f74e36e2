#include "kernels/cpu/reduce.h"

#include <algorithm>
#include <cmath>

namespace sparknet::kernels::cpu {
namespace {

/// The sum of f over n numbers, in double: of every so many numbers one partial sum each, so that they do not wait for
/// one another.
template <class T, class F>
double sum_of(Index n, const T* x, F f) {
  constexpr Index kParts = 16;
  double parts[kParts] = {};
  Index i = 0;
  for (; i + kParts <= n; i += kParts) {
    for (Index j = 0; j < kParts; ++j) parts[j] += f(static_cast<double>(x[i + j]));
  }
  double total = 0;
  for (; i < n; ++i) total += f(static_cast<double>(x[i]));
  if (n < kParts) return total;
  for (Index half = kParts / 2; half > 0; half /= 2) {
    for (Index j = 0; j < half; ++j) parts[j] += parts[j + half];
  }
  return parts[0] + total;
}

template <class T>
double sum(ReduceOp op, Index n, const T* x) {
  switch (op) {
    case ReduceOp::Sum: return sum_of(n, x, [](double v) { return v; });
    case ReduceOp::AbsSum: return sum_of(n, x, [](double v) { return std::abs(v); });
    case ReduceOp::SquareSum: break;
  }
  return sum_of(n, x, [](double v) { return v * v; });
}

}  // namespace

template <class T>
void reduce(Engine& engine, ReduceOp op, Index outer, Index inner, double scale, const T* x, T* y) {
  if (outer >= kMostSumParts || inner < kWorthWaking) {
    for_ranges(engine.team, outer, 1, 1 + kWorthWaking / std::max<Index>(1, inner), [&](Index begin, Index end) {
      for (Index o = begin; o < end; ++o) y[o] = static_cast<T>(scale * sum(op, inner, x + o * inner));
    });
    return;
  }
  const int parts = sum_parts(inner, kWorthWaking);
  double sums[kMostSumParts];
  for (Index o = 0; o < outer; ++o) {
    for_parts(engine.team, inner, parts, [&](Index part, Index begin, Index end) {
      sums[part] = sum(op, end - begin, x + o * inner + begin);
    });
    double total = 0;
    for (int part = 0; part < parts; ++part) total += sums[part];
    y[o] = static_cast<T>(scale * total);
  }
}

template <class T>
void reduce_backward(
    Engine& engine, ReduceOp op, Index outer, Index inner, double scale, const T* x, const T* dy, T* dx) {
  constexpr Index kUnit = 64 / static_cast<Index>(sizeof(T));
  for_ranges(engine.team, outer * inner, kUnit, kWorthWaking, [&](Index begin, Index end) {
    while (begin < end) {
      const Index row = begin / inner, stop = std::min(end, (row + 1) * inner);
      const T slope = static_cast<T>(scale * static_cast<double>(dy[row]));
      switch (op) {
        case ReduceOp::Sum: std::fill(dx + begin, dx + stop, slope); break;
        case ReduceOp::AbsSum:
          for (Index i = begin; i < stop; ++i) dx[i] = x[i] > T(0) ? slope : (x[i] < T(0) ? -slope : slope * x[i]);
          break;
        case ReduceOp::SquareSum:
          for (Index i = begin; i < stop; ++i) dx[i] = T(2) * slope * x[i];
          break;
      }
      begin = stop;
    }
  });
}

#define SPARKNET_REDUCE(T)                                                     \
  template void reduce(Engine&, ReduceOp, Index, Index, double, const T*, T*); \
  template void reduce_backward(Engine&, ReduceOp, Index, Index, double, const T*, const T*, T*);
SPARKNET_REDUCE(float)
SPARKNET_REDUCE(double)
#undef SPARKNET_REDUCE

}  // namespace sparknet::kernels::cpu
