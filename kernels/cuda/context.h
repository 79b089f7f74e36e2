#pragma once

// What the work of one net on one GPU has in common: the stream, the libraries, and how a kernel is started.

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/module.h"
#include "kernels/kernels.h"
#include "sparknet/device.h"
#include "sparknet/error.h"

namespace sparknet::kernels::cuda {

class Context {
 public:
  explicit Context(const BackendOptions& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const BackendOptions& options() const { return options_; }
  bool uses_tf32() const { return options_.tf32 && major_ >= 8; }
  bool takes_bf16() const { return major_ >= 8; }
  int multiprocessors() const { return multiprocessors_; }
  cudaStream_t stream() const { return stream_; }
  /// On the stream. The first call takes a while, so that nets without such layers do without.
  cublasHandle_t cublas();
  cudnnHandle_t cudnn();
  /// What a product may use beside its arrays; there once cublas() was called. NVIDIA's advice for sm_90.
  static constexpr std::size_t kWorkspaceBytes = 32 * 1024 * 1024;
  void* workspace() const { return workspace_; }

  /// Whether a piece of work is to be given to the stream now: not where it is part of a recorded step that will be
  /// repeated as a whole. Everything that is put into the stream asks first, once:
  ///     if (!context.begins()) return;
  ///     context.check(cudnnSoftmaxForward(...), "softmax");
  ///     context.done();
  bool begins();
  /// After a piece of work: where work is waited for, waits and throws.
  void done();
  /// Until all work is done; throws what went wrong in it.
  void wait();
  /// Makes the device that of the calling thread.
  void use() const;

  /// Starts a kernel that has one parameter. With `changes` the parameter differs from step to step.
  void launch(const void* kernel, Index blocks, int threads, void* parameter, const char* what, bool changes = false);

  /// What blocks of a kernel leave for one that adds it up; kPartialBytes.
  static constexpr std::size_t kPartialBytes = 8 * 1024 * 1024;
  void* partial() const { return partial_; }

  /// Throw DeviceError: "cuda:0: softmax: CUDNN_STATUS_BAD_PARAM ...".
  void check(cudaError_t status, const char* what) const {
    if (status != cudaSuccess) fail(what, cudaGetErrorString(status));
  }
  void check(cublasStatus_t status, const char* what) const {
    if (status != CUBLAS_STATUS_SUCCESS) fail(what, cublasGetStatusString(status));
  }
  void check(cudnnStatus_t status, const char* what) const;
  [[noreturn]] void fail(const char* what, const std::string& why) const;

  /// A step that is recorded once and repeated as a whole; see Backend::begin_step.
  void begin_step();
  void end_step();
  /// Where a step ends by an exception.
  void abandon_step();

 private:
  enum class Mode : std::uint8_t { Direct, Recording, Repeating };

  cudaGraphNode_t last_node(const char* what) const;
  void forget_step();

  BackendOptions options_;
  int multiprocessors_ = 1, major_ = 0;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t cublas_ = nullptr;
  cudnnHandle_t cudnn_ = nullptr;
  void* workspace_ = nullptr;
  void* partial_ = nullptr;

  Mode mode_ = Mode::Direct;
  bool in_step_ = false, records_ = true;
  int steps_ = 0;
  std::size_t pieces_ = 0, recorded_pieces_ = 0;
  struct Changing {
    std::size_t piece;
    cudaGraphNode_t node;
  };
  std::vector<Changing> changing_;
  std::size_t next_changing_ = 0;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
};

}  // namespace sparknet::kernels::cuda
