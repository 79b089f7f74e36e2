#pragma once

// What the stand-ins for cuBLAS and cuBLASLt share.

#include <cublas_v2.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "tests/cuda/emulation.h"
#include "tests/cuda/multiply.h"

struct cublasContext {
  int device;
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

namespace sparknet::emulation {

/// The handle, which may be null; dies of one that was destroyed.
cublasHandle_t known(cublasHandle_t handle);

/// A product as cuBLAS knows it: of columns.
struct Product {
  bool transposed_a, transposed_b;
  std::ptrdiff_t m, n, k;
  const void* a;
  std::ptrdiff_t pitch_a, next_a;
  const void* b;
  std::ptrdiff_t pitch_b, next_b;
  void* c;
  std::ptrdiff_t pitch_c, next_c;
  std::ptrdiff_t count;
  bool tf32;
};

/// Inside work: what lies in a workspace matters to nobody. Not all of it is overwritten, which would take a while.
inline void spoil(void* workspace, std::size_t bytes, std::size_t alignment, const char* what) {
  require(workspace, bytes, alignment, what);
  const std::size_t some = std::min(bytes, std::size_t{1} << 16);
  if (some > 0) std::memset(workspace, 0xff, some);
}

/// Bytes from the first to the last element of all matrices.
inline std::size_t extent(
    std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t pitch, std::ptrdiff_t next, std::ptrdiff_t count,
    std::size_t size) {
  if (rows == 0 || columns == 0) return 0;
  return static_cast<std::size_t>(next * (count - 1) + pitch * (columns - 1) + rows) * size;
}

/// Inside work: c = finish(row, alpha * a * b + beta * c).
template <class T, class C = T, class Finish>
void run(const Product& p, Arithmetic<T> alpha, Arithmetic<T> beta, const Finish& finish) {
  const std::ptrdiff_t rows_a = p.transposed_a ? p.k : p.m, columns_a = p.transposed_a ? p.m : p.k;
  const std::ptrdiff_t rows_b = p.transposed_b ? p.n : p.k, columns_b = p.transposed_b ? p.k : p.n;
  require(p.a, extent(rows_a, columns_a, p.pitch_a, p.next_a, p.count, sizeof(T)), sizeof(T), "cuBLAS: A");
  require(p.b, extent(rows_b, columns_b, p.pitch_b, p.next_b, p.count, sizeof(T)), sizeof(T), "cuBLAS: B");
  require(p.c, extent(p.m, p.n, p.pitch_c, p.next_c, p.count, sizeof(C)), sizeof(C), "cuBLAS: C");
  for (std::ptrdiff_t i = 0; i < p.count; ++i) {
    const auto matrix = [](const T* data, std::ptrdiff_t pitch, bool transposed) {
      return transposed ? Matrix<T>{data, pitch, 1} : Matrix<T>{data, 1, pitch};
    };
    C* const c = static_cast<C*>(p.c) + i * p.next_c;
    multiply(
        p.m,
        p.n,
        p.k,
        matrix(static_cast<const T*>(p.a) + i * p.next_a, p.pitch_a, p.transposed_a),
        matrix(static_cast<const T*>(p.b) + i * p.next_b, p.pitch_b, p.transposed_b),
        p.tf32,
        [&](std::ptrdiff_t row, std::ptrdiff_t column, double sum) {
          C& to = c[row + column * p.pitch_c];
          const double old = beta == 0 ? 0.0 : double{beta} * static_cast<double>(to);
          to = static_cast<C>(finish(row, double{alpha} * sum + old));
        });
  }
}

}  // namespace sparknet::emulation
