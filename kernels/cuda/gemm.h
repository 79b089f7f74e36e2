#pragma once

#include <climits>
#include <string>

#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

/// c[m][n] = the sum over k of a[m][k] * b[k][n], row-major.
struct Product {
  Index m, n, k;
  /// In memory a is [k][m], b is [n][k].
  bool transposed_a = false, transposed_b = false;
};

/// Several products whose arrays are so many elements apart.
struct Series {
  Index count = 1, a = 0, b = 0, c = 0;
};

/// Of the factors and of what they are multiplied to: where those are BF16, that may be F32. The sums are of F32 then.
struct Types {
  DType factors, products;
};

/// Throws where cuBLAS, which counts in 32 bits here, cannot do such products; `what` names their shape.
inline void check_product(const Context& context, const Product& product, const Series& series, const char* what) {
  for (const Index size : {product.m, product.n, product.k, series.count}) {
    if (size > INT_MAX)
      context.fail(what, "a matrix is too large, with a side of " + std::to_string(size) + " elements");
  }
}

/// c = a * b, or c += a * b. The handle has been made before, outside of recorded steps.
inline void gemm(
    Context& context, const Types& types, const Product& product, const Series& series, const void* a, const void* b,
    void* c, bool accumulate, const char* what) {
  if (product.m == 0 || product.n == 0 || series.count == 0) return;
  if (product.k == 0 && accumulate) return;
  if (!context.begins()) return;
  if (product.k == 0) {
    // The products are one behind the other.
    const auto elements = static_cast<std::size_t>(series.count * product.m * product.n);
    context.check(cudaMemsetAsync(c, 0, elements * size_of(types.products), context.stream()), what);
    context.done();
    return;
  }
  const bool wide = types.factors == DType::F64;
  const float one = 1, beta = accumulate ? 1 : 0;
  const double wide_one = 1, wide_beta = accumulate ? 1 : 0;
  const auto type_of = [](DType dtype) {
    return dtype == DType::F64 ? CUDA_R_64F : dtype == DType::BF16 ? CUDA_R_16BF : CUDA_R_32F;
  };
  const cudaDataType type = type_of(types.factors), type_c = type_of(types.products);
  const bool tf32 = types.factors == DType::F32 && context.uses_tf32();
  const cublasComputeType_t compute = wide   ? CUBLAS_COMPUTE_64F
                                      : tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                             : CUBLAS_COMPUTE_32F;
  const int m = static_cast<int>(product.m), n = static_cast<int>(product.n), k = static_cast<int>(product.k);
  const int pitch_a = product.transposed_a ? m : k, pitch_b = product.transposed_b ? k : n;
  const cublasOperation_t of_a = product.transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t of_b = product.transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  const void* const alpha = wide ? static_cast<const void*>(&wide_one) : &one;
  const void* const factor = wide ? static_cast<const void*>(&wide_beta) : &beta;
  // cuBLAS goes down columns and takes a row-major matrix for its transpose: c' = b' a'.
  if (series.count == 1) {
    context.check(
        cublasGemmEx(
            context.cublas(),
            of_b,
            of_a,
            n,
            m,
            k,
            alpha,
            b,
            type,
            pitch_b,
            a,
            type,
            pitch_a,
            factor,
            c,
            type_c,
            n,
            compute,
            CUBLAS_GEMM_DEFAULT),
        what);
  } else {
    context.check(
        cublasGemmStridedBatchedEx(
            context.cublas(),
            of_b,
            of_a,
            n,
            m,
            k,
            alpha,
            b,
            type,
            pitch_b,
            series.b,
            a,
            type,
            pitch_a,
            series.a,
            factor,
            c,
            type_c,
            n,
            series.c,
            static_cast<int>(series.count),
            compute,
            CUBLAS_GEMM_DEFAULT),
        what);
  }
  context.done();
}

}  // namespace sparknet::kernels::cuda
