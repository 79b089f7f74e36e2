#include <cstring>
#include <utility>

#include "tests/cuda/streams.h"

using namespace sparknet::emulation;

namespace {

/// The one parameter of a kernel.
struct Parameter {
  explicit Parameter(std::size_t bytes) : words((bytes + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t)) {}
  std::vector<std::max_align_t> words;
};

Work kernel_work(const HostKernel* kernel, void** arguments) {
  const auto parameter = std::make_shared<Parameter>(kernel->parameter_bytes);
  std::memcpy(parameter->words.data(), arguments[0], kernel->parameter_bytes);
  hide_host_addresses(parameter->words.data(), kernel->parameter_bytes);
  return {[=] { kernel->run(parameter->words.data()); }, false, kernel};
}

cudaError_t check_launch(const void* function, dim3 grid, dim3 block, std::size_t shared_bytes) {
  if (!function) return cudaErrorInvalidDeviceFunction;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0) return cudaErrorInvalidConfiguration;
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
  if (threads > 1024 || block.z > 64) return cudaErrorInvalidConfiguration;
  if (shared_bytes > 48 * 1024) return cudaErrorInvalidValue;
  return static_cast<const HostKernel*>(function)->parameter_bytes > 32764 ? cudaErrorInvalidValue : cudaSuccess;
}

void forget(State& s, const CUgraph_st& graph) {
  for (const auto& node : graph.nodes) s.handles.erase(node.get());
  s.handles.erase(&graph);
}

/// Whether the work that the other streams have recorded is before what the origin does next.
bool is_joined(const Capture& capture) {
  std::unordered_set<cudaGraphNode_t> before;
  std::vector<cudaGraphNode_t> open = capture.origin->after;
  while (!open.empty()) {
    const cudaGraphNode_t node = open.back();
    open.pop_back();
    if (before.insert(node).second) open.insert(open.end(), node->after.begin(), node->after.end());
  }
  for (const CUstream_st* stream : capture.streams) {
    for (const cudaGraphNode_t node : stream->after) {
      if (!before.count(node)) return false;
    }
  }
  return true;
}

}  // namespace

extern "C" {

// Kernels.

cudaError_t cudaLaunchKernel(
    const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes, cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const to = stream_of(s, stream);
    if (const cudaError_t status = check_launch(function, grid, block, shared_bytes); status != cudaSuccess)
      return status;
    if (to->device != thread_device) return cudaErrorInvalidResourceHandle;
    return enqueue(s, *to, kernel_work(static_cast<const HostKernel*>(function), arguments));
  });
}

// Graphs.

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  *mode = std::exchange(thread_mode, *mode);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&](State& s) {
    CUstream_st* const origin = stream_of(s, stream);
    if (origin->legacy) return cudaErrorStreamCaptureUnsupported;
    if (origin->capture) return cudaErrorIllegalState;
    origin->capture = std::make_shared<Capture>(
        Capture{++s.last_capture, mode, std::this_thread::get_id(), origin, std::make_unique<CUgraph_st>(), {origin}});
    origin->after.clear();
    s.captures.push_back(origin->capture);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([&](State& s) {
    CUstream_st* const origin = stream_of(s, stream);
    const std::shared_ptr<Capture> capture = origin->capture;
    if (!graph) return cudaErrorInvalidValue;
    *graph = nullptr;
    if (!capture) return cudaErrorIllegalState;
    if (capture->origin != origin) {
      invalidate(*capture);
      return cudaErrorStreamCaptureUnmatched;
    }
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
      return cudaErrorStreamCaptureWrongThread;
    const bool joined = is_joined(*capture);
    for (CUstream_st* recorded : capture->streams) recorded->capture = nullptr;
    capture->ended = true;
    s.captures.erase(std::find(s.captures.begin(), s.captures.end(), capture));
    if (capture->invalid || !joined) {
      forget(s, *capture->graph);
      return capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined;
    }
    *graph = capture->graph.release();
    s.handles.insert(*graph);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr, nullptr);
}

cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges, std::size_t* count) {
  return call([&](State& s) {
    if (!status) return cudaErrorInvalidValue;
    CUstream_st* const asked = stream_of(s, stream);
    if (const cudaError_t wrong = check_implicit(s, *asked); wrong != cudaSuccess) return wrong;
    *status = !asked->capture           ? cudaStreamCaptureStatusNone
              : asked->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    if (*status != cudaStreamCaptureStatusActive) return cudaSuccess;
    asked->edges.assign(asked->after.size(), {});
    if (id) *id = asked->capture->id;
    if (graph) *graph = asked->capture->graph.get();
    if (nodes) *nodes = asked->after.data();
    if (edges) *edges = asked->edges.data();
    if (count) *count = asked->after.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([&](State& s) {
    forget(s, *known(s, graph, "a graph"));
    delete graph;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return call([&](State& s) {
    known(s, graph, "a graph");
    if (!exec || flags != 0) return cudaErrorInvalidValue;
    *exec = new CUgraphExec_st{thread_device, {}, {}, {}};
    for (const auto& node : graph->nodes) {
      (*exec)->places[node.get()] = (*exec)->work.size();
      (*exec)->work.push_back(node->work);
    }
    s.handles.insert(*exec);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return call([&](State& s) {
    s.handles.erase(known(s, exec, "a graph"));
    delete exec;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecKernelNodeSetParams(
    cudaGraphExec_t exec, cudaGraphNode_t node, const cudaKernelNodeParams* params) {
  return call([&](State& s) {
    known(s, exec, "a graph");
    known(s, node, "a node");
    const auto place = exec->places.find(node);
    if (place == exec->places.end() || !params) return cudaErrorInvalidValue;
    Work& work = exec->work[place->second];
    if (const cudaError_t status =
            check_launch(params->func, params->gridDim, params->blockDim, params->sharedMemBytes);
        status != cudaSuccess)
      return status;
    if (params->func != work.kernel) return cudaErrorGraphExecUpdateFailure;
    work = kernel_work(work.kernel, params->kernelParams);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const to = stream_of(s, stream);
    known(s, exec, "a graph");
    if (to->capture) die("a graph in a graph is not emulated");
    if (to->device != exec->device) return cudaErrorInvalidValue;
    if (const cudaError_t status = check_implicit(s, *to); status != cudaSuccess) return status;
    push_implicit_waits(s, *to);
    if (exec->last_launch.stream) push_wait(*to, exec->last_launch);  // which may have been in another stream
    for (const Work& work : exec->work) push(*to, work);
    exec->last_launch = {shared(s, to), to->submitted};
    if (options().eager) run_all(*to);
    return cudaSuccess;
  });
}

}  // extern "C"
