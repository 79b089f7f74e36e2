#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"
#include "kernels/cuda/divider.h"
#include "kernels/cuda/labels.h"

namespace sparknet::kernels::cuda {
namespace {

/// The axes of a box without those of one element, and with neighbours made one where that is the same.
struct Axes {
  int rank = 0;
  Index count = 1;
  Index size[Box::kMaxRank], from_step[Box::kMaxRank], to_step[Box::kMaxRank];
  Divider by_size[Box::kMaxRank];
  bool small = false;

  Axes() = default;
  explicit Axes(const Box& box) {
    for (int d = 0; d < box.rank; ++d) add(box.size[d], box.from_step[d], box.to_step[d]);
    small = Divider::can_divide(count);
    for (int d = 0; d < rank && small; ++d) by_size[d] = Divider(size[d]);
  }

  void add(Index axis_size, Index step_of_from, Index step_of_to) {
    count *= axis_size;
    if (axis_size == 1) return;
    const int last = rank - 1;
    if (rank > 0 && from_step[last] == axis_size * step_of_from && to_step[last] == axis_size * step_of_to) {
      size[last] *= axis_size;
      from_step[last] = step_of_from;
      to_step[last] = step_of_to;
      return;
    }
    size[rank] = axis_size;
    from_step[rank] = step_of_from;
    to_step[rank] = step_of_to;
    ++rank;
  }

  /// Where element number i of the box lies in both places.
  __device__ void find(Index i, Index& from, Index& to) const {
    from = to = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const Index rest = small ? static_cast<Index>(by_size[d].quotient(static_cast<std::uint32_t>(i))) : i / size[d];
      const Index at = i - rest * size[d];
      from += at * from_step[d];
      to += at * to_step[d];
      i = rest;
    }
  }
};

template <class T>
void copy_box_of(Context& context, const Axes& axes, const T* x, T* y) {
  for_each(context, "copy", axes.count, [=] __device__(Index i) {
    Index from, to;
    axes.find(i, from, to);
    y[to] = x[from];
  });
}

template <class T>
void fill_box_of(Context& context, const Axes& axes, Arithmetic<T> value, T* y) {
  for_each(context, "fill", axes.count, [=] __device__(Index i) {
    Index from, to;
    axes.find(i, from, to);
    y[to] = static_cast<T>(value);
  });
}

/// `kept` are the axes of the sums, `added` those that are summed over.
template <class T>
void sum_box_of(Context& context, const Axes& kept, const Axes& added, const T* x, T* y) {
  if (added.count >= 256 && kept.count < 64 * 1024) {
    for_rows(context, "sum", kept.count, added.count, [=] __device__(const Row& block, Index i) {
      Index first, to;
      kept.find(i, first, to);
      const double sum = block.sum<double>(added.count, [&](Index j) {
        Index from, none;
        added.find(j, from, none);
        return static_cast<double>(x[first + from]);
      });
      block.once([&] { y[to] = static_cast<T>(sum); });
    });
    return;
  }
  for_each(context, "sum", kept.count, [=] __device__(Index i) {
    Index first, to;
    kept.find(i, first, to);
    double sum = 0;
    for (Index j = 0; j < added.count; ++j) {
      Index from, none;
      added.find(j, from, none);
      sum += static_cast<double>(x[first + from]);
    }
    y[to] = static_cast<T>(sum);
  });
}

struct alignas(16) SixteenBytes {
  std::uint64_t half[2];
};

/// Rows of `units` units, whose distances are in units too.
template <class Unit>
void copy_rows_of(Context& context, Index rows, Index units, const void* x, Index from, void* y, Index to) {
  Box box;
  box.add(rows, from, to);
  box.add(units, 1, 1);
  copy_box_of(context, Axes(box), in<Unit>(x), out<Unit>(y));
}

/// A WindowShape for a kernel.
struct Windows {
  int axes;
  Index channels, taps, pixels, positions;
  Index size[kMaxSpatialAxes], kernel[kMaxSpatialAxes], stride[kMaxSpatialAxes], pad[kMaxSpatialAxes];
  Index dilation[kMaxSpatialAxes], out[kMaxSpatialAxes];

  explicit Windows(const WindowShape& shape)
      : axes(shape.axes),
        channels(shape.channels),
        taps(shape.taps()),
        pixels(shape.pixels()),
        positions(shape.positions()) {
    for (int a = 0; a < axes; ++a) {
      const auto axis = static_cast<std::size_t>(a);
      size[a] = shape.size[axis], kernel[a] = shape.kernel[axis], stride[a] = shape.stride[axis];
      pad[a] = shape.pad[axis], dilation[a] = shape.dilation[axis], out[a] = shape.out(a);
    }
  }

  /// The pixel of a plane that a tap meets at a position, or -1.
  __device__ Index pixel_of(Index tap, Index position) const {
    Index pixel = 0, step = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Index at = position % out[a] * stride[a] + tap % kernel[a] * dilation[a] - pad[a];
      if (at < 0 || at >= size[a]) return -1;
      pixel += at * step;
      step *= size[a];
      position /= out[a];
      tap /= kernel[a];
    }
    return pixel;
  }
  /// The position where a tap meets a pixel, or -1.
  __device__ Index position_of(Index tap, Index pixel) const {
    Index position = 0, step = 1;
    for (int a = axes - 1; a >= 0; --a) {
      const Index begin = pixel % size[a] + pad[a] - tap % kernel[a] * dilation[a];
      if (begin < 0 || begin % stride[a] != 0 || begin / stride[a] >= out[a]) return -1;
      position += begin / stride[a] * step;
      step *= out[a];
      pixel /= size[a];
      tap /= kernel[a];
    }
    return position;
  }
};

template <class T, class A = Arithmetic<T>>
void im2col_of(Context& context, Index batch, const Windows& w, const T* x, T* columns) {
  for_each(context, "im2col", batch * w.channels * w.taps * w.positions, [=] __device__(Index i) {
    const Index row = i / w.positions, pixel = w.pixel_of(row % w.taps, i % w.positions);
    columns[i] = pixel < 0 ? T{} : x[row / w.taps * w.pixels + pixel];
  });
}

template <class From, class To>
void col2im_of(Context& context, Index batch, const Windows& w, const From* columns, To* x) {
  for_each(context, "col2im", batch * w.channels * w.pixels, [=] __device__(Index i) {
    const Index plane = i / w.pixels, pixel = i % w.pixels;
    Arithmetic<From> sum = 0;
    for (Index tap = 0; tap < w.taps; ++tap) {
      const Index position = w.position_of(tap, pixel);
      if (position >= 0) sum += columns[(plane * w.taps + tap) * w.positions + position];
    }
    x[i] = static_cast<To>(sum);
  });
}

/// The first of the indices that is no integer in [0, limit), or -1.
template <class T>
void check_indices(Context& context, Index count, Index limit, const T* indices, Index* verdict) {
  reduce_all(
      context,
      "indices",
      count,
      Index{-1},
      [=] __device__(Index i) { return read_label(indices[i], limit, false, 0) < 0 ? i : Index{-1}; },
      First{},
      [=] __device__(Index first) { *verdict = first; });
}

/// A bad index, which is refused later, is taken for 0 meanwhile.
template <class T>
__device__ Index place_of(T index, Index limit) {
  const Index place = read_label(index, limit, false, 0);
  return place < 0 ? 0 : place;
}

template <class T>
void read_places_of(Context& context, Index count, Index limit, const T* indices, Index* places) {
  for_each(context, "indices", count, [=] __device__(Index i) { places[i] = place_of(indices[i], limit); });
}

template <class T>
void select_of(Context& context, Index items, const T* selector, Index* places, Index* where, T* kept) {
  // Each item counts those before it; there are as many as a batch has.
  for_each(context, "selection", items, [=] __device__(Index i) {
    Index before = 0, all = 0;
    for (Index j = 0; j < items; ++j) {
      const bool chosen = selector[j] != T(0);
      before += chosen && j < i;
      all += chosen;
    }
    const bool mine = selector[i] != T(0);
    where[i] = mine ? before : -1;
    if (mine) places[before] = i;
    if (i >= all) places[i] = -1;
    if (i == 0 && kept) *kept = static_cast<T>(all);
  });
}

template <class T, class A = Arithmetic<T>>
void gather_rows_of(Context& context, Index rows, Index columns, const Index* places, const T* x, A pad, T* y) {
  for_each(context, "gathered rows", rows * columns, [=] __device__(Index i) {
    const Index row = i / columns, place = places[row];
    y[i] = static_cast<T>(place < 0 ? pad : x[place * columns + (i - row * columns)]);
  });
}

template <class T, class A = Arithmetic<T>>
void scatter_rows_of(Context& context, Index count, Index columns, const Index* places, const T* x, Index rows, T* y) {
  for_each(context, "scattered rows", rows * columns, [=] __device__(Index i) {
    const Index row = i / columns, column = i - row * columns;
    A sum = 0;
    for (Index k = 0; k < count; ++k)
      if (places[k] == row) sum += x[k * columns + column];
    y[i] = static_cast<T>(sum);
  });
}

template <class T>
void embed_of(Context& context, const EmbedShape& shape, const T* indices, const T* weights, const T* bias, T* y) {
  const Index columns = shape.num_output, limit = shape.input_dim;
  for_each(context, "embedding", shape.count * columns, [=] __device__(Index i) {
    const Index row = i / columns, column = i - row * columns;
    const T weight = weights[place_of(indices[row], limit) * columns + column];
    y[i] = bias ? weight + bias[column] : weight;
  });
}

template <class T>
void fill(Context& context, Index count, T* y) {
  for_each(context, "fill", count, [=] __device__(Index i) { y[i] = T(0); });
}

template <class T>
void embed_weights_backward(Context& context, const EmbedShape& shape, const T* indices, const T* dy, T* dweights) {
  const Index count = shape.count, columns = shape.num_output, limit = shape.input_dim;
  // The first example with an index adds up all that have it, in their order.
  for_rows(context, "gradient of an embedding", count, columns, [=] __device__(const Row& block, Index i) {
    const T index = indices[i];
    // One that is refused later has no row.
    const Index place = read_label(index, limit, false, 0);
    if (place < 0) return;
    const Index earlier = block.sum<Index>(i, [&](Index j) { return indices[j] == index ? 1 : 0; });
    if (earlier > 0) return;
    T* const row = dweights + place * columns;
    block.each(columns, [&](Index c) {
      T sum = row[c];
      for (Index j = i; j < count; ++j)
        if (indices[j] == index) sum += dy[j * columns + c];
      row[c] = sum;
    });
  });
}

template <class T>
void embed_bias_backward(Context& context, const EmbedShape& shape, const T* dy, T* dbias, bool accumulate) {
  reduce_channels(
      context,
      "gradient of an embedding's bias",
      ChannelShape{shape.count, shape.num_output, 1},
      0.0,
      [=] __device__(Index, Index i) { return static_cast<double>(dy[i]); },
      [] __device__(double a, double b) { return a + b; },
      [=] __device__(Index c, double sum) {
        dbias[c] = static_cast<T>((accumulate ? static_cast<double>(dbias[c]) : 0) + sum);
      });
}

}  // namespace

void CudaBackend::copy_box(DType dtype, const Box& box, const void* from, void* to) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    copy_box_of(context_, Axes(box), in<T>(from), out<T>(to));
  });
}

void CudaBackend::fill_box(DType dtype, const Box& box, double value, void* to) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    fill_box_of(context_, Axes(box), static_cast<Arithmetic<T>>(value), out<T>(to));
  });
}

void CudaBackend::sum_box(DType dtype, const Box& box, const void* from, void* to) {
  Box kept, added;
  for (int d = 0; d < box.rank; ++d)
    (box.to_step[d] == 0 ? added : kept).add(box.size[d], box.from_step[d], box.to_step[d]);
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    sum_box_of(context_, Axes(kept), Axes(added), in<T>(from), out<T>(to));
  });
}

void CudaBackend::copy_rows(
    Index rows, std::size_t row_bytes, const void* from, std::size_t from_stride, void* to, std::size_t to_stride) {
  // In the largest units that all of it is made of.
  const std::size_t all = row_bytes | from_stride | to_stride | reinterpret_cast<std::uintptr_t>(from) |
                          reinterpret_cast<std::uintptr_t>(to);
  const auto copy = [&](auto unit) {
    using Unit = decltype(unit);
    const auto units = [](std::size_t bytes) { return static_cast<Index>(bytes / sizeof(Unit)); };
    copy_rows_of<Unit>(context_, rows, units(row_bytes), from, units(from_stride), to, units(to_stride));
  };
  if (all % 16 == 0)
    copy(SixteenBytes{});
  else if (all % 4 == 0)
    copy(std::uint32_t{});
  else
    copy(std::uint8_t{});
}

void CudaBackend::im2col(DType dtype, const WindowShape& shape, const void* x, void* columns) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    im2col_of(context_, shape.batch, Windows(shape), in<T>(x), out<T>(columns));
  });
}

void CudaBackend::col2im(DType dtype, const WindowShape& shape, const void* columns, void* x) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    col2im_of(context_, shape.batch, Windows(shape), in<T>(columns), out<T>(x));
  });
}

void CudaBackend::col2im(DType of_columns, DType of_x, const WindowShape& shape, const void* columns, void* x) {
  if (of_columns == of_x)
    col2im(of_x, shape, columns, x);
  else
    col2im_of(context_, shape.batch, Windows(shape), in<float>(columns), out<Bf16>(x));
}

void CudaBackend::read_places(
    DType dtype, Index count, Index limit, const void* indices, Index* places, Index* verdict) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    check_indices(context_, count, limit, in<T>(indices), verdict);
    read_places_of(context_, count, limit, in<T>(indices), places);
  });
}

void CudaBackend::select(DType dtype, Index items, const void* selector, Index* places, Index* where, void* kept) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    select_of(context_, items, in<T>(selector), places, where, out<T>(kept));
  });
}

void CudaBackend::gather_rows(
    DType dtype, Index rows, Index columns, const Index* places, const void* from, double pad, void* to) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    gather_rows_of(context_, rows, columns, places, in<T>(from), static_cast<Arithmetic<T>>(pad), out<T>(to));
  });
}

void CudaBackend::scatter_rows(
    DType dtype, Index count, Index columns, const Index* places, const void* from, Index rows, void* to) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    scatter_rows_of(context_, count, columns, places, in<T>(from), rows, out<T>(to));
  });
}

void CudaBackend::embed(
    DType dtype, const EmbedShape& shape, const void* indices, const void* weights, const void* bias, void* y,
    Index* verdict) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    check_indices(context_, shape.count, shape.input_dim, in<T>(indices), verdict);
    embed_of(context_, shape, in<T>(indices), in<T>(weights), in<T>(bias), out<T>(y));
  });
}

void CudaBackend::embed_backward(
    DType dtype, const EmbedShape& shape, const void* indices, const void* dy, void* dweights, void* dbias,
    bool accumulate) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    if (dweights && !accumulate) fill(context_, shape.input_dim * shape.num_output, out<T>(dweights));
    if (dweights) embed_weights_backward(context_, shape, in<T>(indices), in<T>(dy), out<T>(dweights));
    if (dbias) embed_bias_backward(context_, shape, in<T>(dy), out<T>(dbias), accumulate);
  });
}

}  // namespace sparknet::kernels::cuda
