#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

Context::Context(const BackendOptions& options) : options_(options) {
  check(cudaSetDevice(options_.device), "choosing the device");
  check(
      cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, options_.device),
      "asking for its size");
  check(
      cudaDeviceGetAttribute(&major_, cudaDevAttrComputeCapabilityMajor, options_.device),
      "asking for its capability");
  check(cudaStreamCreate(&stream_), "making a stream");
  check(cudaMalloc(&partial_, kPartialBytes), "allocating memory");
}

Context::~Context() {
  cudaSetDevice(options_.device);
  records_ = false;
  abandon_step();
  cudaStreamSynchronize(stream_);
  if (cudnn_) cudnnDestroy(cudnn_);
  if (cublas_) cublasDestroy(cublas_);
  cudaFree(workspace_);
  cudaFree(partial_);
  cudaStreamDestroy(stream_);
}

cublasHandle_t Context::cublas() {
  if (!cublas_) {
    use();
    check(cublasCreate(&cublas_), "starting cuBLAS");
    check(cublasSetStream(cublas_, stream_), "cuBLAS");
    // Sums are of F32 where they are stored as BF16, also those that several blocks share.
    check(cublasSetMathMode(cublas_, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION), "cuBLAS");
    // A workspace of its own, as it would otherwise allocate one, which a step that is recorded must not.
    check(cudaMalloc(&workspace_, kWorkspaceBytes), "allocating memory for cuBLAS");
    check(cublasSetWorkspace(cublas_, workspace_, kWorkspaceBytes), "cuBLAS");
  }
  return cublas_;
}

cudnnHandle_t Context::cudnn() {
  if (!cudnn_) {
    use();
    check(cudnnCreate(&cudnn_), "starting cuDNN");
    check(cudnnSetStream(cudnn_, stream_), "cuDNN");
  }
  return cudnn_;
}

void Context::use() const {
  check(cudaSetDevice(options_.device), "choosing the device");
}

bool Context::begins() {
  if (in_step_) ++pieces_;
  if (mode_ == Mode::Repeating) return false;
  use();
  return true;
}

void Context::done() {
  if (options_.waits && mode_ == Mode::Direct) wait();
}

void Context::wait() {
  // A step that somebody waits in the middle of cannot be repeated as a whole.
  if (in_step_) records_ = false;
  if (mode_ != Mode::Direct) fail("waiting", "a step that had no pause when it was recorded has one now");
  use();
  check(cudaStreamSynchronize(stream_), "waiting");
}

void Context::launch(const void* kernel, Index blocks, int threads, void* parameter, const char* what, bool changes) {
  const dim3 grid(static_cast<unsigned>(blocks)), block(static_cast<unsigned>(threads));
  void* arguments[] = {parameter};
  if (!begins()) {
    if (!changes) return;
    const Changing& node = changing_.at(next_changing_++);
    if (node.piece != pieces_) fail(what, "the work of a step is not what it was when it was recorded");
    cudaKernelNodeParams now{};
    now.func = const_cast<void*>(kernel);
    now.gridDim = grid;
    now.blockDim = block;
    now.kernelParams = arguments;
    check(cudaGraphExecKernelNodeSetParams(exec_, node.node, &now), what);
    return;
  }
  check(cudaLaunchKernel(kernel, grid, block, arguments, 0, stream_), what);
  if (mode_ == Mode::Recording && changes) changing_.push_back({pieces_, last_node(what)});
  done();
}

cudaGraphNode_t Context::last_node(const char* what) const {
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* nodes = nullptr;
  const cudaGraphEdgeData* edges = nullptr;
  std::size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream_, &status, nullptr, nullptr, &nodes, &edges, &count), what);
  if (status != cudaStreamCaptureStatusActive || count != 1) fail(what, "the recording of a step was lost");
  return nodes[0];
}

void Context::begin_step() {
  in_step_ = true;
  pieces_ = 0;
  next_changing_ = 0;
  if (exec_) {
    mode_ = Mode::Repeating;
    return;
  }
  // The first steps tell whether anybody waits in the middle, and let the libraries load what they need.
  constexpr int kDirectSteps = 2;
  if (options_.waits || !records_ || steps_++ < kDirectSteps) return;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "recording a step");
  mode_ = Mode::Recording;
}

void Context::end_step() {
  in_step_ = false;
  const Mode mode = mode_;
  mode_ = Mode::Direct;
  if (mode == Mode::Direct) return;
  if (mode == Mode::Recording) {
    recorded_pieces_ = pieces_;
    check(cudaStreamEndCapture(stream_, &graph_), "recording a step");
    check(cudaGraphInstantiate(&exec_, graph_, 0), "recording a step");
  } else if (pieces_ != recorded_pieces_ || next_changing_ != changing_.size()) {
    fail("repeating a step", "its work is not what it was when it was recorded");
  }
  check(cudaGraphLaunch(exec_, stream_), "repeating a step");
}

void Context::abandon_step() {
  if (mode_ == Mode::Recording) {
    cudaGraph_t part = nullptr;
    cudaStreamEndCapture(stream_, &part);
    if (part) cudaGraphDestroy(part);
    changing_.clear();
  }
  in_step_ = false;
  mode_ = Mode::Direct;
  if (!records_) forget_step();
}

void Context::forget_step() {
  if (exec_) cudaGraphExecDestroy(exec_);
  if (graph_) cudaGraphDestroy(graph_);
  exec_ = nullptr;
  graph_ = nullptr;
  changing_.clear();
}

void Context::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[512] = "";
  cudnnGetLastErrorString(details, sizeof details);
  details[sizeof details - 1] = '\0';
  fail(what, std::string(cudnnGetErrorString(status)) + (*details ? ": " : "") + details);
}

void Context::fail(const char* what, const std::string& why) const {
  throw DeviceError(to_string(Device::cuda(options_.device)) + ": " + what + ": " + why);
}

}  // namespace sparknet::kernels::cuda
