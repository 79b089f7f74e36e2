#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "kernels/cuda/gemm.h"

namespace sparknet::kernels::cuda {

/// c = activation(a * b + bias) in F32 by one call of cuBLASLt; the activation is a ReLU or none.
class LtProduct {
 public:
  /// Chooses the algorithms. Nothing of the product is empty, and `what` lives as long as this.
  LtProduct(Context& context, const Product& product, bool relu, const char* what);

  /// Does it and returns true, or does nothing: where cuBLASLt has no algorithm, where there is neither bias nor ReLU,
  /// and where an array is less aligned than those of a net. bias[n] is added to each row; it may be null.
  bool run(const void* a, const void* b, const void* bias, void* c) const;

 private:
  template <auto kDestroy>
  struct Destroy {
    template <class T>
    void operator()(T* descriptor) const {
      kDestroy(descriptor);
    }
  };
  using Operation = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy<cublasLtMatmulDescDestroy>>;
  using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy<cublasLtMatrixLayoutDestroy>>;
  using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy<cublasLtMatmulPreferenceDestroy>>;
  using Algorithm = std::optional<cublasLtMatmulAlgo_t>;

  cublasLtHandle_t handle() const;
  Layout layout(Index rows, Index columns) const;
  Preference preference() const;
  Algorithm choose(const Preference& preference, const void* bias) const;
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) const;
  void set_epilogue(const void* bias) const;

  Context& context_;
  bool relu_;
  const char* what_;
  Operation operation_;
  Layout a_, b_, c_;
  Algorithm with_bias_, without_bias_;
};

}  // namespace sparknet::kernels::cuda
