#pragma once

// Products of matrices, fast enough to train on.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cuda/bf16.h"

namespace sparknet::emulation {

using kernels::cuda::Arithmetic;
using kernels::cuda::Bf16;

/// Element (i, j) is data[i * row + j * column].
template <class T>
struct Matrix {
  const T* data;
  std::ptrdiff_t row, column;
};

/// To the nearest number of 10 bits behind the point, as tensor cores take their factors.
inline float round_to_tf32(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~std::uint32_t{0x1fff};
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}
inline double round_to_tf32(double x) {
  return x;
}

/// Rows of a times columns of b, which lie in strips: for each step of the sum so many elements of either.
template <class T>
struct Tile {
  typedef T Lanes __attribute__((vector_size(16), may_alias));
  static constexpr std::ptrdiff_t kLanes = 16 / sizeof(T), kRows = 4, kColumns = 2 * kLanes;
  /// So many products are added up in T, and those sums in double.
  static constexpr std::ptrdiff_t kSteps = 128;

  double sums[kRows][kColumns];

  void multiply(std::ptrdiff_t steps, const T* a, const T* b) {
    std::fill_n(&sums[0][0], kRows * kColumns, 0.0);
    for (std::ptrdiff_t begin = 0; begin < steps; begin += kSteps) {
      const std::ptrdiff_t count = std::min(kSteps, steps - begin);
      Lanes c00{}, c01{}, c10{}, c11{}, c20{}, c21{}, c30{}, c31{};
      for (std::ptrdiff_t step = 0; step < count; ++step, a += kRows, b += kColumns) {
        const Lanes b0 = *reinterpret_cast<const Lanes*>(b), b1 = *reinterpret_cast<const Lanes*>(b + kLanes);
        c00 += a[0] * b0;
        c01 += a[0] * b1;
        c10 += a[1] * b0;
        c11 += a[1] * b1;
        c20 += a[2] * b0;
        c21 += a[2] * b1;
        c30 += a[3] * b0;
        c31 += a[3] * b1;
      }
      for (std::ptrdiff_t lane = 0; lane < kLanes; ++lane) {
        sums[0][lane] += c00[lane];
        sums[0][kLanes + lane] += c01[lane];
        sums[1][lane] += c10[lane];
        sums[1][kLanes + lane] += c11[lane];
        sums[2][lane] += c20[lane];
        sums[2][kLanes + lane] += c21[lane];
        sums[3][lane] += c30[lane];
        sums[3][kLanes + lane] += c31[lane];
      }
    }
  }
};

/// Strips of `width` rows, the last of which is filled up with zeros.
template <class T>
std::vector<Arithmetic<T>> strips(
    std::ptrdiff_t rows, std::ptrdiff_t steps, const Matrix<T>& from, std::ptrdiff_t width, bool tf32) {
  using A = Arithmetic<T>;
  std::vector<A> to(static_cast<std::size_t>((rows + width - 1) / width * width * steps));
  A* at = to.data();
  for (std::ptrdiff_t first = 0; first < rows; first += width, at += width * steps) {
    const std::ptrdiff_t count = std::min(width, rows - first);
    const T* const strip = from.data + first * from.row;
    const auto take = [&](std::ptrdiff_t row, std::ptrdiff_t step) {
      const A value = strip[row * from.row + step * from.column];
      at[step * width + row] = tf32 ? round_to_tf32(value) : value;
    };
    if (from.column == 1) {
      for (std::ptrdiff_t row = 0; row < count; ++row) {
        for (std::ptrdiff_t step = 0; step < steps; ++step) take(row, step);
      }
    } else {
      for (std::ptrdiff_t step = 0; step < steps; ++step) {
        for (std::ptrdiff_t row = 0; row < count; ++row) take(row, step);
      }
    }
  }
  return to;
}

/// Calls store(i, j, the sum over k of a(i, k) * b(k, j)) for all i < m, j < n.
template <class T, class Store>
void multiply(
    std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, const Matrix<T>& a, const Matrix<T>& b, bool tf32,
    const Store& store) {
  using A = Arithmetic<T>;
  constexpr std::ptrdiff_t kRows = Tile<A>::kRows, kColumns = Tile<A>::kColumns;
  const std::vector<A> left = strips(m, k, a, kRows, tf32);
  const std::vector<A> right = strips(n, k, Matrix<T>{b.data, b.column, b.row}, kColumns, tf32);
  Tile<A> tile;
  for (std::ptrdiff_t column = 0; column < n; column += kColumns) {
    for (std::ptrdiff_t row = 0; row < m; row += kRows) {
      tile.multiply(k, left.data() + row * k, right.data() + column * k);
      for (std::ptrdiff_t i = row; i < std::min(m, row + kRows); ++i) {
        for (std::ptrdiff_t j = column; j < std::min(n, column + kColumns); ++j)
          store(i, j, tile.sums[i - row][j - column]);
      }
    }
  }
}

}  // namespace sparknet::emulation
