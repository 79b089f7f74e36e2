#include "kernels/cuda/lt_product.h"

namespace sparknet::kernels::cuda {
namespace {

/// Blobs, parameters and prepared weights begin on cache lines, wherever they lie in their arenas.
constexpr std::uint32_t kAlignment = 64;

bool is_aligned(const void* array) {
  return reinterpret_cast<std::uintptr_t>(array) % kAlignment == 0;
}

}  // namespace

LtProduct::LtProduct(Context& context, const Product& product, bool relu, const char* what)
    : context_(context),
      relu_(relu),
      what_(what),
      a_(product.transposed_a ? layout(product.k, product.m) : layout(product.m, product.k)),
      b_(product.transposed_b ? layout(product.n, product.k) : layout(product.k, product.n)),
      c_(layout(product.m, product.n)) {
  context.use();
  cublasLtMatmulDesc_t operation = nullptr;
  const cublasComputeType_t compute = context.uses_tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  context.check(cublasLtMatmulDescCreate(&operation, compute, CUDA_R_32F), what);
  operation_.reset(operation);
  // cuBLASLt goes down columns, as cuBLAS does: c' = b' a'.
  set(CUBLASLT_MATMUL_DESC_TRANSA, product.transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, product.transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  const Preference preferred = preference();
  // It takes the alignment of the bias from its address, which is not read yet.
  with_bias_ = choose(preferred, reinterpret_cast<const void*>(std::uintptr_t{kAlignment}));
  if (relu) without_bias_ = choose(preferred, nullptr);
}

bool LtProduct::run(const void* a, const void* b, const void* bias, void* c) const {
  const Algorithm& algorithm = bias ? with_bias_ : without_bias_;
  if (!algorithm) return false;
  for (const void* const array : {a, b, bias, static_cast<const void*>(c)}) {
    if (!is_aligned(array)) return false;
  }
  if (!context_.begins()) return true;
  set_epilogue(bias);
  const float one = 1, zero = 0;
  context_.check(
      cublasLtMatmul(
          handle(),
          operation_.get(),
          &one,
          b,
          b_.get(),
          a,
          a_.get(),
          &zero,
          c,
          c_.get(),
          c,
          c_.get(),
          &*algorithm,
          context_.workspace(),
          Context::kWorkspaceBytes,
          context_.stream()),
      what_);
  context_.done();
  return true;
}

cublasLtHandle_t LtProduct::handle() const {
  // A handle of cuBLAS is one of cuBLASLt too, as NVIDIA's manual says.
  return reinterpret_cast<cublasLtHandle_t>(context_.cublas());
}

/// Of a row-major matrix, which is taken for its transpose.
LtProduct::Layout LtProduct::layout(Index rows, Index columns) const {
  cublasLtMatrixLayout_t made = nullptr;
  context_.check(
      cublasLtMatrixLayoutCreate(
          &made,
          CUDA_R_32F,
          static_cast<std::uint64_t>(columns),
          static_cast<std::uint64_t>(rows),
          columns),
      what_);
  return Layout(made);
}

LtProduct::Preference LtProduct::preference() const {
  cublasLtMatmulPreference_t made = nullptr;
  context_.check(cublasLtMatmulPreferenceCreate(&made), what_);
  Preference preferred(made);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    context_.check(cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof value), what_);
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{Context::kWorkspaceBytes});
  // Parts of a sum have places of their own and are added by a later kernel, so in one order; "in place" promises none.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  for (const cublasLtMatmulPreferenceAttributes_t alignment :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(alignment, kAlignment);
  return preferred;
}

/// The fastest algorithm, as cuBLASLt guesses.
LtProduct::Algorithm LtProduct::choose(const Preference& preference, const void* bias) const {
  set_epilogue(bias);
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle(),
      operation_.get(),
      b_.get(),
      a_.get(),
      c_.get(),
      c_.get(),
      preference.get(),
      1,
      &found,
      &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  context_.check(status, what_);
  if (count == 0 || found.state != CUBLAS_STATUS_SUCCESS) return {};
  return found.algo;
}

template <class T>
void LtProduct::set(cublasLtMatmulDescAttributes_t attribute, const T& value) const {
  context_.check(cublasLtMatmulDescSetAttribute(operation_.get(), attribute, &value, sizeof value), what_);
}

void LtProduct::set_epilogue(const void* bias) const {
  set(CUBLASLT_MATMUL_DESC_EPILOGUE,
      relu_ ? (bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU) : CUBLASLT_EPILOGUE_BIAS);
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

}  // namespace sparknet::kernels::cuda
