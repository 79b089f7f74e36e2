#include "tests/cuda/cublas.h"

#include <mutex>
#include <unordered_set>

using namespace sparknet::emulation;

namespace {

struct Handles {
  std::mutex mutex;
  std::unordered_set<cublasHandle_t> all;
};

Handles& handles() {
  static Handles& handles = *new Handles;  // for those that are destroyed with statics
  return handles;
}

/// The bits of a mode that are one number; the others are flags.
constexpr int kModes = 0xf;

template <class T, class C = T>
cublasStatus_t start(cublasHandle_t handle, const Product& product, const void* alpha, const void* beta) {
  using A = Arithmetic<T>;
  const A factor = *static_cast<const A*>(alpha), old = *static_cast<const A*>(beta);
  void* const workspace = handle->workspace;
  const std::size_t workspace_bytes = handle->workspace_bytes;
  const cudaError_t status = submit(handle->stream, [=] {
    spoil(workspace, workspace_bytes, 1, "cuBLAS: the workspace");
    run<T, C>(product, factor, old, [](std::ptrdiff_t, double value) { return value; });
  });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t check_and_start(
    cublasHandle_t handle, cublasOperation_t of_a, cublasOperation_t of_b, Product product, const void* alpha,
    const void* beta, cudaDataType type, cudaDataType type_c, cublasComputeType_t compute) {
  const auto is_operation = [](cublasOperation_t o) {
    return o == CUBLAS_OP_N || o == CUBLAS_OP_T || o == CUBLAS_OP_C;
  };
  if (!is_operation(of_a) || !is_operation(of_b)) return CUBLAS_STATUS_INVALID_VALUE;
  product.transposed_a = of_a != CUBLAS_OP_N;
  product.transposed_b = of_b != CUBLAS_OP_N;
  const auto at_least_1 = [](std::ptrdiff_t size) { return std::max(size, std::ptrdiff_t{1}); };
  if (product.m < 0 || product.n < 0 || product.k < 0 || product.count < 0 || !alpha || !beta ||
      product.pitch_a < at_least_1(product.transposed_a ? product.k : product.m) ||
      product.pitch_b < at_least_1(product.transposed_b ? product.n : product.k) ||
      product.pitch_c < at_least_1(product.m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (product.m == 0 || product.n == 0 || product.count == 0) return CUBLAS_STATUS_SUCCESS;
  if (!product.c || (product.k > 0 && (!product.a || !product.b))) return CUBLAS_STATUS_INVALID_VALUE;
  if (handle->device != current_device()) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (type == CUDA_R_16BF) {
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (type_c == CUDA_R_32F) return start<Bf16, float>(handle, product, alpha, beta);
    if (type_c != CUDA_R_16BF) return CUBLAS_STATUS_NOT_SUPPORTED;
    // Parts of a sum would be rounded before they are added up.
    if (!(handle->math & CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)) die("cuBLAS may add up in BF16");
    return start<Bf16>(handle, product, alpha, beta);
  }
  if (type != type_c) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (type == CUDA_R_64F && (compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC))
    return start<double>(handle, product, alpha, beta);
  if (type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  switch (compute) {
    case CUBLAS_COMPUTE_32F: product.tf32 = (handle->math & kModes) == CUBLAS_TF32_TENSOR_OP_MATH; break;
    case CUBLAS_COMPUTE_32F_FAST_TF32: product.tf32 = true; break;
    case CUBLAS_COMPUTE_32F_PEDANTIC: break;
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return start<float>(handle, product, alpha, beta);
}

}  // namespace

cublasHandle_t sparknet::emulation::known(cublasHandle_t handle) {
  const std::lock_guard lock(handles().mutex);
  if (handle && !handles().all.count(handle)) die("a handle of cuBLAS that was destroyed");
  return handle;
}

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  *handle = nullptr;
  if (may_wait() != cudaSuccess) return CUBLAS_STATUS_ALLOC_FAILED;
  *handle = new cublasContext{current_device()};
  const std::lock_guard lock(handles().mutex);
  handles().all.insert(*handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (!known(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  const cudaError_t status = wait_for_device();
  const std::lock_guard lock(handles().mutex);
  handles().all.erase(handle);
  delete handle;
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  if (!known(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  handle->workspace = nullptr;  // as cuBLAS does, for its own
  handle->workspace_bytes = 0;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  if (!known(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->workspace = workspace;
  handle->workspace_bytes = workspace ? bytes : 0;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!known(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int number = mode & kModes;
  if ((mode & ~(kModes | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)) != 0 ||
      (number != CUBLAS_DEFAULT_MATH && number != CUBLAS_PEDANTIC_MATH && number != CUBLAS_TF32_TENSOR_OP_MATH))
    return CUBLAS_STATUS_INVALID_VALUE;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE: return "an invalid numerical value was used as an argument";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality is not supported";
    default: return "unknown error";
  }
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t of_a, cublasOperation_t of_b, int m, int n, int k, const void* alpha,
    const void* a, cudaDataType type_a, int pitch_a, long long next_a, const void* b, cudaDataType type_b, int pitch_b,
    long long next_b, const void* beta, void* c, cudaDataType type_c, int pitch_c, long long next_c, int count,
    cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (!known(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (type_a != type_b) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Product
      product{false, false, m, n, k, a, pitch_a, next_a, b, pitch_b, next_b, c, pitch_c, next_c, count, false};
  return check_and_start(handle, of_a, of_b, product, alpha, beta, type_a, type_c, compute);
}

cublasStatus_t cublasGemmEx(
    cublasHandle_t handle, cublasOperation_t of_a, cublasOperation_t of_b, int m, int n, int k, const void* alpha,
    const void* a, cudaDataType type_a, int pitch_a, const void* b, cudaDataType type_b, int pitch_b, const void* beta,
    void* c, cudaDataType type_c, int pitch_c, cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(
      handle,
      of_a,
      of_b,
      m,
      n,
      k,
      alpha,
      a,
      type_a,
      pitch_a,
      0,
      b,
      type_b,
      pitch_b,
      0,
      beta,
      c,
      type_c,
      pitch_c,
      0,
      1,
      compute,
      algorithm);
}

}  // extern "C"
