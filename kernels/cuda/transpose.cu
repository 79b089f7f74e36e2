#include "kernels/cuda/backend.h"
#include "kernels/cuda/divider.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// Of the squares that a block turns by way of its own memory, so that it reads and writes whole lines.
constexpr Index kSide = 32;

template <class From, class To, class A = Arithmetic<From>>
void by_elements(Context& context, Index outer, Index rows, Index columns, const From* x, To* y) {
  const Index count = outer * rows * columns, plane = rows * columns;
  if (Divider::can_divide(count)) {
    const Divider by_plane(plane), by_rows(rows);
    write_each(context, "transposition", count, y, [=] __device__(Index i) {
      const std::uint32_t o = by_plane.quotient(static_cast<std::uint32_t>(i));
      const auto at = static_cast<std::uint32_t>(i - static_cast<Index>(o) * plane);
      const Index column = by_rows.quotient(at), row = static_cast<Index>(at) - column * rows;
      return static_cast<A>(x[static_cast<Index>(o) * plane + row * columns + column]);
    });
    return;
  }
  for_each(context, "transposition", count, [=] __device__(Index i) {
    const Index first = i / plane * plane, column = (i - first) / rows, row = i - first - column * rows;
    y[i] = static_cast<To>(static_cast<A>(x[first + row * columns + column]));
  });
}

template <class From, class To, class A = Arithmetic<From>>
void by_squares(Context& context, Index outer, Index rows, Index columns, const From* x, To* y) {
  const Index down = (rows + kSide - 1) / kSide, across = (columns + kSide - 1) / kSide;
  for_rows(context, "transposition", outer * down * across, kSide * kSide, [=] __device__(const Row& block, Index n) {
    __shared__ A square[kSide][kSide + 1];  // one more, so that a column is not in one bank of the memory
    const Index plane = n / across / down * rows * columns;
    const Index top = n / across % down * kSide, left = n % across * kSide;
    block.each(kSide * kSide, [&](Index i) {
      const Index r = i / kSide, c = i % kSide;
      if (top + r < rows && left + c < columns)
        square[r][c] = static_cast<A>(x[plane + (top + r) * columns + left + c]);
    });
    block.sync();
    block.each(kSide * kSide, [&](Index i) {
      const Index c = i / kSide, r = i % kSide;
      if (top + r < rows && left + c < columns) y[plane + (left + c) * rows + top + r] = static_cast<To>(square[r][c]);
    });
    block.sync();
  });
}

template <class From, class To>
void transpose_as(Context& context, Index outer, Index rows, Index columns, const void* x, void* y) {
  if (rows < kSide || columns < kSide)
    by_elements(context, outer, rows, columns, in<From>(x), out<To>(y));
  else
    by_squares(context, outer, rows, columns, in<From>(x), out<To>(y));
}

}  // namespace

void CudaBackend::transpose(DType from, DType to, Index outer, Index rows, Index columns, const void* x, void* y) {
  if (from != to) {
    if (to == DType::BF16)
      transpose_as<float, Bf16>(context_, outer, rows, columns, x, y);
    else
      transpose_as<Bf16, float>(context_, outer, rows, columns, x, y);
    return;
  }
  with_blob_type(from, [&](auto zero) {
    using T = decltype(zero);
    transpose_as<T, T>(context_, outer, rows, columns, x, y);
  });
}

}  // namespace sparknet::kernels::cuda
