#include <cublasLt.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <vector>

#include "tests/cuda/emulation_test.h"

using namespace sparknet::emulation;

namespace {

/// A product of cuBLASLt's with what it needs: D, 4 x 3, is A, 4 x 5, times B', 3 x 5.
struct LtCall {
  LtCall() {
    CHECK(cublasCreate(&cublas) == CUBLAS_STATUS_SUCCESS);
    handle = reinterpret_cast<cublasLtHandle_t>(cublas);
    CHECK(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasLtMatrixLayoutCreate(&of_a, CUDA_R_32F, 4, 5, 4) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasLtMatrixLayoutCreate(&of_b, CUDA_R_32F, 3, 5, 6) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasLtMatrixLayoutCreate(&of_d, CUDA_R_32F, 4, 3, 7) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{256});
  }
  ~LtCall() {
    cublasLtMatmulPreferenceDestroy(preference);
    for (const cublasLtMatrixLayout_t layout : {of_a, of_b, of_d}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation);
    cublasDestroy(cublas);
  }
  LtCall(const LtCall&) = delete;
  LtCall& operator=(const LtCall&) = delete;

  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, const V& value) {
    CHECK(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
  }
  template <class V>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, const V& value) {
    CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
  }
  void set_epilogue(cublasLtEpilogue_t epilogue, const float* from) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, from);
  }
  cublasStatus_t choose(int most = 8) {
    return cublasLtMatmulAlgoGetHeuristic(handle, operation, of_a, of_b, of_d, of_d, preference, most, found, &count);
  }
  cublasStatus_t run(std::size_t bytes = 256, void* memory = nullptr) {
    return cublasLtMatmul(
        handle,
        operation,
        &alpha,
        on_a.get(),
        of_a,
        on_b.get(),
        of_b,
        &beta,
        on_d.get(),
        of_d,
        on_d.get(),
        of_d,
        &found[0].algo,
        memory ? memory : workspace.get(),
        bytes,
        stream);
  }
  std::vector<double> expected(bool has_bias, bool relu) const {
    std::vector<double> result(d.begin(), d.end());
    for (std::size_t column = 0; column < 3; ++column) {
      for (std::size_t row = 0; row < 4; ++row) {
        double sum = has_bias ? double{bias[row]} : 0;
        for (std::size_t i = 0; i < 5; ++i) sum += 0.5 * double{a[row + i * 4]} * double{b[column + i * 6]};
        sum += double{beta} * double{d[row + column * 7]};
        result[row + column * 7] = relu ? std::max(sum, 0.0) : sum;
      }
    }
    return result;
  }
  template <class F>
  bool dies(const F& f) {
    return death_of([&] {
             f();
             cudaStreamSynchronize(stream);
           }) == SIGABRT;
  }

  Stream stream;
  cublasHandle_t cublas = nullptr;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t of_a = nullptr, of_b = nullptr, of_d = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t found[8];
  int count = -1;
  float alpha = 0.5, beta = 0;
  const std::vector<float> a = random_numbers<float>(20, 1), b = random_numbers<float>(30, 2);
  const std::vector<float> bias = random_numbers<float>(4, 3), d = random_numbers<float>(18, 4);
  const DeviceArray<float> on_a{a}, on_b{b}, on_bias{bias}, on_d{d};
  const DeviceArray<char> workspace{256};
};

}  // namespace

TEST_CASE("products of cuBLASLt with what follows them") {
  for (const float beta : {0.0f, 2.0f}) {
    for (const bool relu : {false, true}) {
      for (const bool has_bias : {false, true}) {
        LtCall call;
        call.beta = beta;
        const auto relu_or_none = relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
        const auto with_bias = relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
        call.set_epilogue(has_bias ? with_bias : relu_or_none, has_bias ? call.on_bias.get() : nullptr);
        REQUIRE(call.choose() == CUBLAS_STATUS_SUCCESS);
        CHECK(call.run() == CUBLAS_STATUS_SUCCESS);
        const std::vector<double> expected = call.expected(has_bias, relu);
        call.alpha = call.beta = NAN;  // they have been read
        call.set_epilogue(CUBLASLT_EPILOGUE_BIAS, call.bias.data());
        check_close(call.on_d.read(), expected);
      }
    }
  }
}

TEST_CASE("cuBLASLt offers algorithms of all kinds, and says no") {
  LtCall call;
  CHECK(call.choose(0) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(call.choose() == CUBLAS_STATUS_SUCCESS);
  REQUIRE(call.count == 2);
  CHECK(call.found[0].workspaceSize == 256);
  CHECK(call.found[1].workspaceSize == 0);
  call.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{1} << 40);
  call.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK});
  CHECK(call.choose() == CUBLAS_STATUS_SUCCESS);
  CHECK(call.count == 5);
  CHECK(call.found[0].workspaceSize == 1 << 30);
  const std::uint64_t wrong = 0;
  CHECK(
      cublasLtMatmulPreferenceSetAttribute(
          call.preference,
          CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
          &wrong,
          sizeof wrong) == CUBLAS_STATUS_INVALID_VALUE);
  // TF32, and types that are not done.
  LtCall other;
  other.set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
  CHECK(cublasLtMatmulDescDestroy(other.operation) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasLtMatmulDescCreate(&other.operation, CUBLAS_COMPUTE_16F, CUDA_R_16F) == CUBLAS_STATUS_SUCCESS);
  other.set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_T);
  CHECK(other.choose() == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(other.count == 0);
}

TEST_CASE("a wrong call of cuBLASLt dies") {
  LtCall call;
  const float* const bias = call.on_bias.get();
  call.set_epilogue(CUBLASLT_EPILOGUE_RELU_BIAS, bias);
  REQUIRE(call.choose() == CUBLAS_STATUS_SUCCESS);
  CHECK_FALSE(call.dies([&] { call.run(); }));
  // The workspace.
  std::vector<char> of_host(256);
  CHECK(call.dies([&] { call.run(255); }));
  CHECK(call.dies([&] { call.run(256, of_host.data()); }));
  CHECK(call.dies([&] { call.run(256, call.workspace.get() + 256); }));
  // The bias.
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_RELU_BIAS, nullptr);
    call.run();
  }));
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_RELU_BIAS, bias + 1);
    call.run();
  }));
  alignas(256) float of_the_host[4] = {};
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_RELU_BIAS, of_the_host);
    call.run();
  }));
  const DeviceArray<float> three(3);
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_RELU_BIAS, three.get());
    call.run();
  }));
  // Another product than the algorithm's.
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_BIAS, bias);
    call.run();
  }));
  CHECK(call.dies([&] {
    call.set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    call.run();
  }));
  for (const std::uint64_t columns : {2U, 3U}) {
    for (const std::int64_t pitch : {7, 8}) {
      CHECK(call.dies([&, columns, pitch] {
        cublasLtMatrixLayoutDestroy(call.of_d);
        cublasLtMatrixLayoutCreate(&call.of_d, CUDA_R_32F, 4, columns, pitch);
        call.run();
      }) == (columns != 3 || pitch != 7));
    }
  }
  CHECK(call.dies([&] {
    call.found[0].algo.data[1] = 1 << 30;
    call.run();
  }));
  CHECK(call.dies([&] {
    call.found[0].algo = {};
    call.run();
  }));
  // A leading dimension that is too small, sizes that do not fit, and an epilogue that nobody asks for.
  CHECK(call.dies([&] {
    cublasLtMatrixLayoutCreate(&call.of_a, CUDA_R_32F, 4, 5, 3);
    call.choose();
  }));
  CHECK(call.dies([&] {
    cublasLtMatrixLayoutCreate(&call.of_a, CUDA_R_32F, 4, 6, 4);
    call.choose();
  }));
  CHECK(call.dies([&] {
    call.set_epilogue(CUBLASLT_EPILOGUE_GELU, nullptr);
    call.choose();
  }));
  // Beyond the end of B.
  CHECK(call.dies([&] {
    cublasLtMatrixLayoutCreate(&call.of_b, CUDA_R_32F, 3, 5, 9);
    call.choose();
    call.run();
  }));
  // A sum in any order.
  CHECK(call.dies([&] {
    call.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_INPLACE});
    call.choose();
    call.run();
  }));
  // Handles.
  CHECK(call.dies([&] {
    cublasLtMatmulDescDestroy(call.operation);
    call.run();
  }));
  CHECK(call.dies([&] {
    cublasLtMatrixLayoutDestroy(call.of_b);
    call.run();
  }));
  CHECK(call.dies([&] {
    cublasLtMatmulPreferenceDestroy(call.preference);
    call.choose();
  }));
  CHECK(call.dies([&] {
    cublasDestroy(call.cublas);
    call.run();
  }));
  CHECK(call.dies([&] { cublasLtMatrixLayoutDestroy(nullptr); }));
}
