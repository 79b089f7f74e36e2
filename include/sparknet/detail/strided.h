#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "sparknet/shape.h"

namespace sparknet::detail {

/// The rows of N operands of one shape: axes that lie behind each other in all operands are merged, so that operands
/// without gaps are a single row.
template <std::size_t N>
class Rows {
 public:
  Rows(const Shape& shape, const std::array<const Dim*, N>& strides) {
    steps_.fill(1);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] == 0) {
        length_ = 0;
        return;
      }
      if (shape[axis] != 1) push(shape[axis], strides, axis);
    }
    if (rank_ == 0) return;
    --rank_;
    length_ = dims_[rank_];
    for (std::size_t k = 0; k < N; ++k) steps_[k] = strides_[k][rank_];
  }

  /// Elements of a row.
  Dim length() const { return length_; }
  /// From one element of a row to the next.
  Dim step(std::size_t k) const { return steps_[k]; }
  bool is_dense() const {
    for (const Dim step : steps_)
      if (step != 1) return false;
    return true;
  }

  /// Calls `f(at)` for each row, `at[k]` being the place of its first element in operand k. Stops when f returns false.
  template <class F>
  void for_each(F&& f) const {
    if (length_ == 0) return;
    std::array<Dim, Shape::max_rank> index{};
    std::array<Dim, N> at{};
    for (;;) {
      if (!f(std::as_const(at))) return;
      std::size_t axis = rank_;
      for (; axis > 0; --axis) {
        const std::size_t a = axis - 1;
        for (std::size_t k = 0; k < N; ++k) at[k] += strides_[k][a];
        if (++index[a] < dims_[a]) break;
        for (std::size_t k = 0; k < N; ++k) at[k] -= strides_[k][a] * dims_[a];
        index[a] = 0;
      }
      if (axis == 0) return;
    }
  }

 private:
  void push(Dim dim, const std::array<const Dim*, N>& strides, std::size_t axis) {
    bool merges = rank_ > 0;
    for (std::size_t k = 0; merges && k < N; ++k) merges = strides_[k][rank_ - 1] == strides[k][axis] * dim;
    if (!merges) ++rank_;
    dims_[rank_ - 1] = merges ? dims_[rank_ - 1] * dim : dim;
    for (std::size_t k = 0; k < N; ++k) strides_[k][rank_ - 1] = strides[k][axis];
  }

  // Of the axes outside of the rows.
  std::size_t rank_ = 0;
  std::array<Dim, Shape::max_rank> dims_{};
  std::array<std::array<Dim, Shape::max_rank>, N> strides_{};
  Dim length_ = 1;
  std::array<Dim, N> steps_{};
};

template <class T>
struct Operand {
  T* data;
  const Dim* strides;
};

template <class T>
struct Cursor {
  T* data;
  Dim step;
};

template <class F, class D, class... S>
void map_dense_row(Dim length, F f, D* __restrict out, S* __restrict... in) {
  for (Dim i = 0; i < length; ++i) f(out[i], in[i]...);
}

template <class F, class D, class... S>
void map_strided_row(Dim length, F f, Cursor<D> out, Cursor<S>... in) {
  for (Dim i = 0; i < length; ++i) f(out.data[i * out.step], in.data[i * in.step]...);
}

/// Calls `f(out, in...)` for the elements of operands of one shape. `out` overlaps none of `in`.
template <class F, class D, class... S>
void map(const Shape& shape, F f, Operand<D> out, Operand<S>... in) {
  const Rows<1 + sizeof...(S)> rows(shape, {out.strides, in.strides...});
  const bool dense = rows.is_dense();
  [&]<std::size_t... K>(std::index_sequence<K...>) {
    rows.for_each([&](const std::array<Dim, 1 + sizeof...(S)>& at) {
      if (dense)
        map_dense_row(rows.length(), f, out.data + at[0], (in.data + at[K + 1])...);
      else
        map_strided_row(
            rows.length(),
            f,
            Cursor<D>{out.data + at[0], rows.step(0)},
            Cursor<S>{in.data + at[K + 1], rows.step(K + 1)}...);
      return true;
    });
  }
  (std::index_sequence_for<S...>{});
}

}  // namespace sparknet::detail
