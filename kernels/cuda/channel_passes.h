#pragma once

// Passes over x[outer][channels][inner], where one number goes with a whole channel.

#include "kernels/cuda/divider.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {

/// y[place] = f(c, place) for every element, as write_each() does it.
template <class T, class F>
void write_channels(Context& context, const char* what, const ChannelShape& shape, T* y, const F& f) {
  const Index channels = shape.channels, inner = shape.inner, count = shape.outer * channels * inner;
  if (count <= 0) return;
  if (Divider::can_divide(count)) {
    const Divider by_inner(inner), by_channels(channels);
    write_each(context, what, count, y, [=] __device__(Index i) {
      const std::uint32_t row = by_inner.quotient(static_cast<std::uint32_t>(i));
      return f(static_cast<Index>(by_channels.remainder(row)), i);
    });
    return;
  }
  // So rarely that the many instructions of several such divisions at a time are not worth it.
  for_each(context, what, count, [=] __device__(Index i) { y[i] = static_cast<T>(f(i / inner % channels, i)); });
}

struct RowByDivider {
  Divider by_inner;
  __device__ Index operator()(Index n) const { return by_inner.quotient(static_cast<std::uint32_t>(n)); }
};
struct RowByDivision {
  Index inner;
  __device__ Index operator()(Index n) const { return n / inner; }
};

/// How many parts the numbers of a channel are cut into, and how many are in one.
struct Parts {
  Index count, size;
};

/// Blocks for each channel, each with a part of its elements, whose results go to `partial` unless there is but one.
/// `row_of` tells the row of [outer] in which a number of the channel lies.
template <class R, class RowOf, class Fetch, class Use, class Join, class Finish>
void reduce_parts(
    Context& context, const char* what, const ChannelShape& shape, Parts parts, R* partial, R start,
    const RowOf& row_of, const Fetch& fetch, const Use& use, const Join& join, const Finish& finish) {
  const Index channels = shape.channels, inner = shape.inner, numbers = shape.outer * inner;
  for_rows(context, what, channels * parts.count, parts.size, [=] __device__(const Row& block, Index row) {
    const Index c = row / parts.count, begin = row % parts.count * parts.size;
    const Index end = begin + parts.size < numbers ? begin + parts.size : numbers;
    const auto place = [&](Index j) {
      const Index n = begin + j, o = row_of(n);
      return (o * channels + c) * inner + (n - o * inner);
    };
    const R total = block.reduce(
        begin < end ? end - begin : 0,
        start,
        [&](Index j) { return fetch(c, place(j)); },
        [&](Index j, const auto& fetched) { return use(c, place(j), fetched); },
        join);
    block.once([&] {
      if (parts.count == 1)
        finish(c, total);
      else
        partial[row] = total;
    });
  });
}

/// Joins use(c, place, fetch(c, place)) over the elements of each channel as Row::reduce does, and calls finish(c,
/// result) in one thread.
template <class R, class Fetch, class Use, class Join, class Finish>
void reduce_channels(
    Context& context, const char* what, const ChannelShape& shape, R start, const Fetch& fetch, const Use& use,
    const Join& join, const Finish& finish) {
  const Index channels = shape.channels, inner = shape.inner, outer = shape.outer;
  const Index room = static_cast<Index>(Context::kPartialBytes / sizeof(R));
  R* const partial = static_cast<R*>(context.partial());
  const auto least = [](Index a, Index b) { return a < b ? a : b; };
  const auto at_least_one = [](Index a) { return a < 1 ? Index{1} : a; };

  // Where a thread has whole channels there are no parts to make room for.
  if (inner < 32 && (inner == 1 || channels * inner <= room)) {
    // A thread for each column of [outer][channels * inner] and each part of the rows.
    const Index columns = channels * inner;
    const Index wanted = kResident * context.multiprocessors() / at_least_one(columns);
    const Index parts = at_least_one(least(least(wanted, outer / 16), room / at_least_one(columns)));
    const Index rows = (outer + parts - 1) / parts;
    const bool ends = parts == 1 && inner == 1;
    for_each(context, what, parts * columns, [=] __device__(Index i) {
      const Index part = i / columns, column = i % columns, c = column / inner;
      const Index begin = part * rows, end = begin + rows < outer ? begin + rows : outer;
      const R total = join_all(
          begin,
          1,
          end,
          start,
          [&](Index o) { return fetch(c, o * columns + column); },
          [&](Index o, const auto& fetched) { return use(c, o * columns + column, fetched); },
          join);
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
  const Index wanted = kResident / kThreads * context.multiprocessors() / at_least_one(channels);
  const Index parts = at_least_one(least(least(wanted, numbers / 2048), room / at_least_one(channels)));
  const Index size = (numbers + parts - 1) / parts;
  if (Divider::can_divide(numbers))
    reduce_parts(
        context,
        what,
        shape,
        {parts, size},
        partial,
        start,
        RowByDivider{Divider(inner)},
        fetch,
        use,
        join,
        finish);
  else
    reduce_parts(context, what, shape, {parts, size}, partial, start, RowByDivision{inner}, fetch, use, join, finish);
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

/// The same of load(c, place), which writes nothing.
template <class R, class Load, class Join, class Finish>
void reduce_channels(
    Context& context, const char* what, const ChannelShape& shape, R start, const Load& load, const Join& join,
    const Finish& finish) {
  const auto use = [] __device__(Index, Index, R value) { return value; };
  reduce_channels(context, what, shape, start, load, use, join, finish);
}

/// Two numbers of an element.
template <class A>
struct Two {
  A first, second;
};

/// Two sums that are made in one pass.
struct Pair {
  double first, second;
};
struct AddPairs {
  __device__ Pair operator()(Pair a, Pair b) const { return {a.first + b.first, a.second + b.second}; }
};

}  // namespace sparknet::kernels::cuda
