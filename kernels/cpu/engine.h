#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/hot.h"
#include "kernels/kernels.h"
#include "kernels/thread_team.h"

namespace sparknet::kernels::cpu {

/// What every plan of one backend shares; it outlives the plans.
struct Engine {
  Engine(int threads, const Hot& table, Winograd when) : team(threads), hot(table), winograd(when) {}

  ThreadTeam team;
  const Hot& hot;
  Winograd winograd;
};

template <class T>
const HotTable<T>& table(const Engine& engine);
template <>
inline const HotTable<float>& table<float>(const Engine& engine) {
  return engine.hot.f32;
}
template <>
inline const HotTable<double>& table<double>(const Engine& engine) {
  return engine.hot.f64;
}

/// Elements below which waking the crew costs more than it saves, where each is read and written and little more.
constexpr Index kWorthWaking = 32 * 1024;

inline Index round_up(Index n, Index unit) {
  return (n + unit - 1) / unit * unit;
}

/// The least pitch of at least n elements that is an odd number of cache lines, so that rows meet in no cache set.
template <class T>
Index odd_pitch(Index n) {
  constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));
  return ((n + kLine - 1) / kLine | 1) * kLine;
}

/// Lays arrays out one behind the other on cache lines, in elements of T.
template <class T>
class Layout {
 public:
  /// The place of an array of n elements.
  Index add(Index n) {
    const Index at = size_;
    size_ += round_up(n, 64 / static_cast<Index>(sizeof(T)));
    return at;
  }
  Index size() const { return size_; }

 private:
  Index size_ = 0;
};

/// Calls f(begin, end) on pieces of [0, count) whose borders are multiples of `unit`, on all threads where `count` is
/// worth it.
template <class F>
void for_ranges(ThreadTeam& team, Index count, Index unit, Index worth, F&& f) {
  if (team.size() == 1 || count < worth) {
    if (count > 0) f(Index{0}, count);
    return;
  }
  const Index units = (count + unit - 1) / unit;
  team.run([&](int worker) {
    const Share part = share(units, team.size(), worker);
    const Index end = part.end * unit < count ? part.end * unit : count;
    if (part.begin * unit < end) f(part.begin * unit, end);
  });
}

/// Into how many parts a sum over `count` terms is cut, kMostSumParts at most. It does not depend on the threads, so
/// that sums do not.
constexpr int kMostSumParts = 32;
inline int sum_parts(Index count, Index worth) {
  return count < worth ? 1 : static_cast<int>(std::min<Index>(kMostSumParts, 4 * count / worth));
}

/// Calls f(part, begin, end) for each part of [0, count), on all threads.
template <class F>
void for_parts(ThreadTeam& team, Index count, int parts, F&& f) {
  for_ranges(team, parts, 1, 2, [&](Index first, Index last) {
    for (Index part = first; part < last; ++part) {
      const Share terms = share(count, parts, static_cast<int>(part));
      f(part, terms.begin, terms.end);
    }
  });
}

/// Calls f(value of type float or double, zero).
template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  if (dtype == DType::F64) return f(double{});
  return f(float{});
}

std::unique_ptr<Linear> make_convolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);
/// Null where the forward pass reads weights as they lie.
std::unique_ptr<PreparedLinear> make_prepared_convolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);
/// Groups of one channel each.
std::unique_ptr<Linear> make_depthwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);
std::unique_ptr<Linear> make_convolution_nd(
    Engine& engine, DType dtype, const ConvolutionNdShape& shape, Activation activation);
std::unique_ptr<Linear> make_deconvolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);
std::unique_ptr<Linear> make_deconvolution_nd(
    Engine& engine, DType dtype, const ConvolutionNdShape& shape, Activation activation);
std::unique_ptr<Linear> make_inner_product(
    Engine& engine, DType dtype, const InnerProductShape& shape, Activation activation);
std::unique_ptr<Pooling> make_pooling(Engine& engine, DType dtype, const PoolingShape& shape, PoolMethod method);
std::unique_ptr<Pooling> make_stochastic_pooling(Engine& engine, DType dtype, const PoolingShape& shape);
std::unique_ptr<Lrn> make_lrn(Engine& engine, DType dtype, const LrnShape& shape);

}  // namespace sparknet::kernels::cpu
