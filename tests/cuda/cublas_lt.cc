#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "tests/cuda/cublas.h"

using namespace sparknet::emulation;

namespace {

struct How {
  cublasComputeType_t compute;
  cudaDataType scale;
  cublasOperation_t of_a = CUBLAS_OP_N, of_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;

  bool adds_bias() const { return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS; }
  bool is_relu() const { return epilogue == CUBLASLT_EPILOGUE_RELU || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS; }
  bool operator==(const How&) const = default;
};

struct Stored {
  cudaDataType type;
  std::uint64_t rows, columns;
  std::int64_t pitch;

  bool operator==(const Stored&) const = default;
};

// What the handles point to.

struct Operation : cublasLtMatmulDescOpaque_t {
  How how;
  const void* bias = nullptr;
};

struct Layout : cublasLtMatrixLayoutOpaque_t {
  Stored matrix;
};

struct Preference : cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  /// Of A, B, C and D.
  std::array<std::uint32_t, 4> alignments = {256, 256, 256, 256};
};

struct Problem {
  How how;
  Stored a, b, c, d;

  bool operator==(const Problem&) const = default;
};

/// What a cublasLtMatmulAlgo_t stands for.
struct Algorithm {
  Problem problem;
  std::uint32_t reduction;
  std::size_t workspace_bytes;
  /// What the arrays have to be aligned to: what was promised. Of A, B, C and D, and of the bias.
  std::array<std::uint32_t, 4> alignments;
  std::uintptr_t bias_alignment;
};

struct State {
  std::mutex mutex;
  std::unordered_set<const void*> handles;
  std::vector<Algorithm> algorithms;
};

State& state() {
  static State& state = *new State;  // for those that are destroyed with statics
  return state;
}

constexpr std::uint64_t kMark = 0x737061726b6e6574;

template <class Opaque, class Made>
cublasStatus_t create(Opaque** to, Made* one) {
  *to = one;
  const std::lock_guard lock(state().mutex);
  state().handles.insert(*to);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Made, class Opaque>
Made& made(Opaque* handle) {
  const std::lock_guard lock(state().mutex);
  if (!state().handles.count(handle)) die("a descriptor of cuBLASLt that is none, or was destroyed");
  return static_cast<Made&>(*handle);
}

template <class Made, class Opaque>
cublasStatus_t destroy(Opaque* handle) {
  Made* const one = &made<Made>(handle);
  const std::lock_guard lock(state().mutex);
  state().handles.erase(handle);
  delete one;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t take(T& to, const void* from, std::size_t bytes) {
  if (!from || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasHandle_t known_handle(cublasLtHandle_t handle) {
  return known(reinterpret_cast<cublasHandle_t>(handle));
}

void check(const Stored& matrix, std::uint64_t rows, std::uint64_t columns) {
  if (matrix.rows == 0 || matrix.columns == 0) die("cuBLASLt: a matrix is empty");
  if (matrix.pitch < 0 || static_cast<std::uint64_t>(matrix.pitch) < matrix.rows)
    die("cuBLASLt: a leading dimension is less than the rows");
  if (matrix.rows != rows || matrix.columns != columns) die("cuBLASLt: the sizes of matrices do not fit");
}

/// What is asked for; dies where it makes no sense.
Problem gather(
    const Operation& operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
    cublasLtMatrixLayout_t d) {
  const auto matrix = [](cublasLtMatrixLayout_t layout) { return made<Layout>(layout).matrix; };
  const Problem p{operation.how, matrix(a), matrix(b), matrix(c), matrix(d)};
  if (p.c != p.d) die("cuBLASLt: a C that is not D is not emulated");
  const bool turned_a = p.how.of_a != CUBLAS_OP_N, turned_b = p.how.of_b != CUBLAS_OP_N;
  const std::uint64_t depth = turned_a ? p.a.rows : p.a.columns;
  check(p.d, p.d.rows, p.d.columns);
  check(p.a, turned_a ? depth : p.d.rows, turned_a ? p.d.rows : depth);
  check(p.b, turned_b ? p.d.columns : depth, turned_b ? depth : p.d.columns);
  return p;
}

bool is_supported(const Problem& p) {
  const How& how = p.how;
  for (const Stored* const matrix : {&p.a, &p.b, &p.d}) {
    if (matrix->type != CUDA_R_32F) return false;
  }
  return how.scale == CUDA_R_32F && (how.compute == CUBLAS_COMPUTE_32F || how.compute == CUBLAS_COMPUTE_32F_FAST_TF32);
}

/// More products than these in a sum, and it says that it cannot; with one column the list is empty. There is no such
/// limit in cuBLASLt, but others nobody knows.
constexpr std::uint64_t kMostProducts = 1200;

/// The list begins with what sparknet must not take.
std::vector<Algorithm> list(const Problem& p, const Preference& preference, const void* bias) {
  if (p.d.columns == 1) return {};
  const auto address = reinterpret_cast<std::uintptr_t>(bias);
  const std::uintptr_t bias_alignment = address == 0 ? 256 : std::min<std::uintptr_t>(256, address & (~address + 1));
  const std::size_t parts = (p.d.rows * p.d.columns * 2 * sizeof(float) + 255) / 256 * 256;
  struct {
    std::uint32_t reduction;
    std::size_t workspace_bytes;
  } const offers[] = {
      {CUBLASLT_REDUCTION_SCHEME_NONE, std::size_t{1} << 30},
      {CUBLASLT_REDUCTION_SCHEME_INPLACE, 256},
      {CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, parts},
      {CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, parts},
      {CUBLASLT_REDUCTION_SCHEME_NONE, 0},
  };
  std::vector<Algorithm> all;
  for (const auto& offer : offers) {
    if (offer.workspace_bytes > preference.workspace_bytes) continue;
    if ((offer.reduction & ~preference.reductions) != 0) continue;
    all.push_back({p, offer.reduction, offer.workspace_bytes, preference.alignments, bias_alignment});
  }
  return all;
}

Algorithm algorithm_of(const cublasLtMatmulAlgo_t& algo) {
  const std::lock_guard lock(state().mutex);
  if (algo.data[0] != kMark || algo.data[1] >= state().algorithms.size())
    die("an algorithm that cuBLASLt did not give");
  return state().algorithms[algo.data[1]];
}

void check_alignment(const void* array, std::uintptr_t alignment) {
  if (reinterpret_cast<std::uintptr_t>(array) % alignment != 0) die("cuBLASLt: an array is less aligned than promised");
}

}  // namespace

extern "C" {

// Descriptors.

cublasStatus_t cublasLtMatmulDescCreate(
    cublasLtMatmulDesc_t* descriptor, cublasComputeType_t compute, cudaDataType scale) {
  return create(descriptor, new Operation{{}, {compute, scale}});
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t descriptor) {
  return destroy<Operation>(descriptor);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t descriptor, cublasLtMatmulDescAttributes_t attribute, const void* value, std::size_t bytes) {
  Operation& operation = made<Operation>(descriptor);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return take(operation.how.of_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return take(operation.how.of_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return take(operation.how.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return take(operation.bias, value, bytes);
    default: die("an attribute of products that is not emulated");
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(
    cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows, std::uint64_t columns, std::int64_t pitch) {
  return create(layout, new Layout{{}, {type, rows, columns, pitch}});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return destroy<Layout>(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return create(preference, new Preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy<Preference>(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t handle, cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
    std::size_t bytes) {
  Preference& preference = made<Preference>(handle);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return take(preference.workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return take(preference.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return take(preference.alignments[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return take(preference.alignments[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return take(preference.alignments[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return take(preference.alignments[3], value, bytes);
    default: die("a preference that is not emulated");
  }
}

// Products.

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t descriptor, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
    cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int most,
    cublasLtMatmulHeuristicResult_t* found, int* count) {
  if (!known_handle(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (most < 1 || !found || !count) return CUBLAS_STATUS_INVALID_VALUE;
  *count = 0;
  const Operation& operation = made<Operation>(descriptor);
  const Problem problem = gather(operation, a, b, c, d);
  if (problem.how.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !problem.how.adds_bias() && !problem.how.is_relu())
    die("an epilogue that is not emulated");
  const std::uint64_t products = problem.how.of_a == CUBLAS_OP_N ? problem.a.columns : problem.a.rows;
  if (!is_supported(problem) || products > kMostProducts) return CUBLAS_STATUS_NOT_SUPPORTED;
  for (const Algorithm& algorithm : list(problem, made<Preference>(preference), operation.bias)) {
    if (*count == most) break;
    const std::lock_guard lock(state().mutex);
    found[*count] = {};
    found[*count].algo.data[0] = kMark;
    found[*count].algo.data[1] = state().algorithms.size();
    found[*count].workspaceSize = algorithm.workspace_bytes;
    state().algorithms.push_back(algorithm);
    ++*count;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(
    cublasLtHandle_t lt_handle, cublasLtMatmulDesc_t descriptor, const void* alpha, const void* a,
    cublasLtMatrixLayout_t of_a, const void* b, cublasLtMatrixLayout_t of_b, const void* beta, const void* c,
    cublasLtMatrixLayout_t of_c, void* d, cublasLtMatrixLayout_t of_d, const cublasLtMatmulAlgo_t* algo,
    void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  const cublasHandle_t handle = known_handle(lt_handle);
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Operation& operation = made<Operation>(descriptor);
  const Problem p = gather(operation, of_a, of_b, of_c, of_d);
  if (!alpha || !beta || !a || !b || !c || !d) return CUBLAS_STATUS_INVALID_VALUE;
  if (!algo) die("cuBLASLt: products without an algorithm are not emulated");
  if (c != d) die("cuBLASLt: a C that is not D is not emulated");
  const Algorithm algorithm = algorithm_of(*algo);
  if (p != algorithm.problem) die("cuBLASLt: an algorithm that was chosen for another product");
  // It gives other bits every time, and says nothing.
  if (algorithm.reduction == CUBLASLT_REDUCTION_SCHEME_INPLACE) die("cuBLASLt: a sum in any order");
  if (workspace_bytes < algorithm.workspace_bytes) die("cuBLASLt: the workspace is too small");
  check_alignment(a, algorithm.alignments[0]);
  check_alignment(b, algorithm.alignments[1]);
  check_alignment(d, std::max(algorithm.alignments[2], algorithm.alignments[3]));
  const float* const bias = p.how.adds_bias() ? static_cast<const float*>(operation.bias) : nullptr;
  if (p.how.adds_bias() && !bias) die("cuBLASLt: the bias is null");
  check_alignment(bias, algorithm.bias_alignment);
  if (handle->device != current_device()) return CUBLAS_STATUS_EXECUTION_FAILED;

  const auto signed_of = [](std::uint64_t size) { return static_cast<std::ptrdiff_t>(size); };
  const bool turned_a = p.how.of_a != CUBLAS_OP_N;
  const Product product{
      turned_a,
      p.how.of_b != CUBLAS_OP_N,
      signed_of(p.d.rows),
      signed_of(p.d.columns),
      signed_of(turned_a ? p.a.rows : p.a.columns),
      a,
      p.a.pitch,
      0,
      b,
      p.b.pitch,
      0,
      d,
      p.d.pitch,
      0,
      1,
      p.how.compute == CUBLAS_COMPUTE_32F_FAST_TF32};
  const float factor = *static_cast<const float*>(alpha), old = *static_cast<const float*>(beta);
  const bool is_relu = p.how.is_relu();
  const cudaError_t status = submit(stream, [=] {
    spoil(workspace, algorithm.workspace_bytes, 256, "cuBLASLt: the workspace");
    if (bias) require(bias, static_cast<std::size_t>(product.m) * sizeof(float), sizeof(float), "cuBLASLt: the bias");
    run<float>(product, factor, old, [=](std::ptrdiff_t row, double value) {
      const double sum = value + (bias ? double{bias[row]} : 0.0);
      return is_relu && sum < 0 ? 0.0 : sum;
    });
  });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
