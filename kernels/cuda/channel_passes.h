#pragma once

// Passes over x[outer][channels][inner], where one number goes with a whole channel.

#include "kernels/cuda/divider.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {

/// Calls f(c, place) for every element, `place` being its place in the array.
template <class F>
void for_channel_elements(Context& context, const char* what, const ChannelShape& shape, const F& f) {
  const Index channels = shape.channels, inner = shape.inner, count = shape.outer * channels * inner;
  if (count <= 0) return;
  if (Divider::can_divide(count)) {
    const Divider by_inner(inner), by_channels(channels);
    for_each(context, what, count, [=] __device__(Index i) {
      const std::uint32_t row = by_inner.quotient(static_cast<std::uint32_t>(i));
      f(static_cast<Index>(by_channels.remainder(row)), i);
    });
    return;
  }
  for_each(context, what, count, [=] __device__(Index i) { f(i / inner % channels, i); });
}

/// Joins load(c, place) over the elements of each channel as Row::reduce does, and calls finish(c, result) in one
/// thread.
template <class R, class Load, class Join, class Finish>
void reduce_channels(
    Context& context, const char* what, const ChannelShape& shape, R start, const Load& load, const Join& join,
    const Finish& finish) {
  const Index channels = shape.channels, inner = shape.inner, outer = shape.outer;
  const Index room = static_cast<Index>(Context::kPartialBytes / sizeof(R));
  R* const partial = static_cast<R*>(context.partial());
  const auto least = [](Index a, Index b) { return a < b ? a : b; };
  const auto at_least_one = [](Index a) { return a < 1 ? Index{1} : a; };

  // Where a thread has whole channels there are no parts to make room for.
  if (inner < 32 && (inner == 1 || channels * inner <= room)) {
    // A thread for each column of [outer][channels * inner] and each part of the rows.
    const Index columns = channels * inner;
    const Index wanted = 2 * kThreads * context.multiprocessors() / at_least_one(columns);
    const Index parts = at_least_one(least(least(wanted, outer / 16), room / at_least_one(columns)));
    const Index rows = (outer + parts - 1) / parts;
    const bool ends = parts == 1 && inner == 1;
    for_each(context, what, parts * columns, [=] __device__(Index i) {
      const Index part = i / columns, column = i % columns, c = column / inner;
      const Index begin = part * rows, end = begin + rows < outer ? begin + rows : outer;
      R total = start;
      for (Index o = begin; o < end; ++o) total = join(total, load(c, o * columns + column));
      if (ends)
        finish(c, total);
      else
        partial[i] = total;
    });
    if (ends) return;
    for_rows(context, what, channels, parts * inner, [=] __device__(const Row& block, Index c) {
      const R total = block.reduce(
          parts * inner,
          start,
          [&](Index j) { return partial[j / inner * columns + c * inner + j % inner]; },
          join);
      block.once([&] { finish(c, total); });
    });
    return;
  }

  // Blocks for each channel, each with a part of its elements.
  const Index numbers = outer * inner;
  const Index wanted = 8 * context.multiprocessors() / at_least_one(channels);
  const Index parts = at_least_one(least(least(wanted, numbers / 2048), room / at_least_one(channels)));
  const Index size = (numbers + parts - 1) / parts;
  const bool small = Divider::can_divide(numbers);
  const Divider by_inner(small ? inner : 1);
  for_rows(context, what, channels * parts, size, [=] __device__(const Row& block, Index row) {
    const Index c = row / parts, begin = row % parts * size, end = begin + size < numbers ? begin + size : numbers;
    const R total = block.reduce(
        begin < end ? end - begin : 0,
        start,
        [&](Index j) {
          const Index n = begin + j;
          const Index o = small ? static_cast<Index>(by_inner.quotient(static_cast<std::uint32_t>(n))) : n / inner;
          return load(c, (o * channels + c) * inner + (n - o * inner));
        },
        join);
    block.once([&] {
      if (parts == 1)
        finish(c, total);
      else
        partial[row] = total;
    });
  });
  if (parts == 1) return;
  for_rows(context, what, channels, parts, [=] __device__(const Row& block, Index c) {
    const R total = block.reduce(
        parts,
        start,
        [&](Index p) { return partial[c * parts + p]; },
        join);
    block.once([&] { finish(c, total); });
  });
}

/// Two sums that are made in one pass.
struct Pair {
  double first, second;
};
struct AddPairs {
  __device__ Pair operator()(Pair a, Pair b) const { return {a.first + b.first, a.second + b.second}; }
};

}  // namespace sparknet::kernels::cuda
