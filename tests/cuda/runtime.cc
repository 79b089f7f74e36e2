#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/cuda/emulation.h"

namespace {

using namespace sparknet::emulation;
using sparknet::kernels::cuda::HostKernel;

/// The one parameter of a kernel.
struct Parameter {
  explicit Parameter(std::size_t bytes) : words((bytes + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t)) {}
  std::vector<std::max_align_t> words;
};

/// A piece of work of a stream or of a graph.
struct Work {
  std::function<void()> run;
  /// A copy between devices.
  bool reaches_all = false;
  /// Of kernels.
  const HostKernel* kernel = nullptr;
};

/// Where in a stream somebody waits to.
struct Mark {
  std::shared_ptr<CUstream_st> stream;
  std::uint64_t position = 0;
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  CUstream_st* origin;
  std::unique_ptr<CUgraph_st> graph;
  /// All that record, the origin too.
  std::vector<CUstream_st*> streams;
  bool invalid = false, ended = false;
};

struct Record {
  Mark mark;
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
};

}  // namespace

// What CUDA's handles point to.

struct CUstream_st {
  CUstream_st(int its_device, bool is_legacy, bool is_blocking)
      : device(its_device), legacy(is_legacy), blocking(is_blocking) {}

  int device;
  bool legacy, blocking;
  bool destroyed = false;
  std::deque<Work> queue;
  std::uint64_t submitted = 0, done = 0;
  std::shared_ptr<Capture> capture;
  /// While it records: what the next node comes after.
  std::vector<cudaGraphNode_t> after;
  std::vector<cudaGraphEdgeData> edges;
};

struct CUevent_st {
  int device;
  bool timed;
  std::optional<Record> record;
  /// Where it was last recorded into a graph.
  std::shared_ptr<Capture> capture;
  std::vector<cudaGraphNode_t> after;
};

struct CUgraphNode_st {
  Work work;
  std::vector<cudaGraphNode_t> after;
};

struct CUgraph_st {
  /// In an order in which they may run.
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};

struct CUgraphExec_st {
  int device;
  std::vector<Work> work;
  std::unordered_map<cudaGraphNode_t, std::size_t> places;
  Mark last_launch;
};

namespace {

struct State {
  std::mutex mutex;
  std::vector<std::shared_ptr<CUstream_st>> streams;
  std::vector<std::shared_ptr<CUstream_st>> legacy;
  std::unordered_set<const void*> handles;
  std::vector<std::shared_ptr<Capture>> captures;
  unsigned long long last_capture = 0;

  State() {
    for (int device = 0; device < options().devices; ++device) {
      legacy.push_back(std::make_shared<CUstream_st>(device, true, true));
      streams.push_back(legacy.back());
    }
  }
};

State& state() {
  static State& state = *new State;  // for those that free in destructors of statics
  return state;
}

thread_local int thread_device = 0;
thread_local cudaError_t thread_error = cudaSuccess;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

/// What every function is wrapped in.
template <class F>
cudaError_t call(const F& function) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const cudaError_t status = s.legacy.empty() ? cudaErrorNoDevice : function(s);
  if (status != cudaSuccess) thread_error = status;
  return status;
}

template <class T>
T* known(State& s, T* handle, const char* what) {
  if (!s.handles.count(handle)) die(std::string(what) + " that is none, or was destroyed");
  return handle;
}

CUstream_st* stream_of(State& s, cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return s.legacy[static_cast<std::size_t>(thread_device)].get();
  if (handle == cudaStreamPerThread) die("streams of threads are not emulated");
  return known(s, handle, "a stream");
}

std::shared_ptr<CUstream_st> shared(State& s, const CUstream_st* stream) {
  return *std::find_if(s.streams.begin(), s.streams.end(), [&](const auto& other) { return other.get() == stream; });
}

// Running.

void run_until(CUstream_st& stream, std::uint64_t position) {
  while (stream.done < position) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    const Access access(work.reaches_all ? Access::kAll : stream.device);
    work.run();
    ++stream.done;
  }
}

void run_to(CUstream_st& stream, std::uint64_t position) {
  if (stream.done >= position) return;
  const Access access(stream.device);  // once, as it takes a while
  run_until(stream, position);
}

void run_all(CUstream_st& stream) {
  run_to(stream, stream.submitted);
}

void forget_destroyed(State& s) {
  const auto forgotten = [](const auto& stream) { return stream->destroyed && stream->queue.empty(); };
  s.streams.erase(std::remove_if(s.streams.begin(), s.streams.end(), forgotten), s.streams.end());
}

void run_device(State& s, int device) {
  for (const auto& stream : s.streams) {
    if (stream->device == device) run_all(*stream);
  }
  forget_destroyed(s);
}

void push(CUstream_st& stream, Work work) {
  stream.queue.push_back(std::move(work));
  ++stream.submitted;
}

void push_wait(CUstream_st& stream, Mark mark) {
  if (mark.stream.get() == &stream || mark.stream->done >= mark.position) return;
  push(stream, {[mark = std::move(mark)] { run_until(*mark.stream, mark.position); }});
}

/// The legacy stream and the blocking ones wait for each other.
void push_implicit_waits(State& s, CUstream_st& stream) {
  if (stream.legacy) {
    for (const auto& other : s.streams) {
      if (other->device == stream.device && other->blocking) push_wait(stream, {other, other->submitted});
    }
  } else if (stream.blocking) {
    const auto& legacy = s.legacy[static_cast<std::size_t>(stream.device)];
    push_wait(stream, {legacy, legacy->submitted});
  }
}

// Recording.

void invalidate(Capture& capture) {
  capture.invalid = true;
}

/// Of the legacy stream, which must not depend on what is recorded.
cudaError_t check_implicit(State& s, const CUstream_st& stream) {
  cudaError_t status = cudaSuccess;
  for (const auto& other : s.streams) {
    if (!stream.legacy || !other->capture || !other->blocking || other->device != stream.device) continue;
    invalidate(*other->capture);
    status = cudaErrorStreamCaptureImplicit;
  }
  return status;
}

/// Of what waits for the stream.
cudaError_t check_waits(State& s, CUstream_st& stream) {
  if (!stream.capture) return check_implicit(s, stream);
  const bool was_invalid = std::exchange(stream.capture->invalid, true);
  return was_invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnsupported;
}

/// Of what CUDA calls potentially unsafe.
cudaError_t check_unsafe(State& s) {
  cudaError_t status = cudaSuccess;
  for (const auto& capture : s.captures) {
    const bool own = capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool any = thread_mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (thread_mode == cudaStreamCaptureModeRelaxed || (!own && !any)) continue;
    invalidate(*capture);
    status = cudaErrorStreamCaptureUnsupported;
  }
  return status;
}

/// Puts work into the stream or the graph that it records.
cudaError_t enqueue(State& s, CUstream_st& stream, Work work) {
  if (Capture* const capture = stream.capture.get()) {
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    auto& nodes = capture->graph->nodes;
    nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{std::move(work), stream.after}));
    stream.after = {nodes.back().get()};
    s.handles.insert(nodes.back().get());
    return cudaSuccess;
  }
  if (const cudaError_t status = check_implicit(s, stream); status != cudaSuccess) return status;
  push_implicit_waits(s, stream);
  push(stream, std::move(work));
  if (options().eager) run_all(stream);
  return cudaSuccess;
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

// Copying.

Place place_of(const void* memory) {
  const Block* const block = block_of(memory);
  return block ? block->place : Place::Host;
}

bool is_of(const void* memory, std::initializer_list<Place> places) {
  return std::find(places.begin(), places.end(), place_of(memory)) != places.end();
}

/// Whether all of it is in one block, or it is memory of the host's that CUDA does not know.
bool is_whole(const void* memory, std::size_t bytes) {
  const Block* const block = block_of(memory);
  if (!block) return memory && !is_reserved(memory);
  return bytes <= block->bytes - (reinterpret_cast<std::uintptr_t>(memory) - block->begin);
}

struct Copy {
  char* to;
  std::size_t to_pitch;
  const char* from;
  std::size_t from_pitch;
  std::size_t width, height;

  std::size_t to_bytes() const { return to_pitch * (height - 1) + width; }
  std::size_t from_bytes() const { return from_pitch * (height - 1) + width; }
  void run() const {
    for (std::size_t row = 0; row < height; ++row) std::memcpy(to + row * to_pitch, from + row * from_pitch, width);
  }
};

cudaError_t check_copy(const Copy& copy, cudaMemcpyKind kind) {
  if (copy.to_pitch < copy.width || copy.from_pitch < copy.width) return cudaErrorInvalidPitchValue;
  if (!is_whole(copy.to, copy.to_bytes()) || !is_whole(copy.from, copy.from_bytes())) return cudaErrorInvalidValue;
  const bool from_host = is_of(copy.from, {Place::Host, Place::Pinned, Place::Managed});
  const bool from_device = is_of(copy.from, {Place::Device, Place::Managed});
  const bool to_host = is_of(copy.to, {Place::Host, Place::Pinned, Place::Managed});
  const bool to_device = is_of(copy.to, {Place::Device, Place::Managed});
  bool fits = false;
  switch (kind) {
    case cudaMemcpyHostToHost: fits = from_host && to_host; break;
    case cudaMemcpyHostToDevice: fits = from_host && to_device; break;
    case cudaMemcpyDeviceToHost: fits = from_device && to_host; break;
    case cudaMemcpyDeviceToDevice: fits = from_device && to_device; break;
    case cudaMemcpyDefault: fits = true; break;
    default: return cudaErrorInvalidMemcpyDirection;
  }
  if (!fits) return cudaErrorInvalidValue;
  if (copy.to < copy.from + copy.from_bytes() && copy.from < copy.to + copy.to_bytes())
    die("a copy whose arrays overlap");
  return cudaSuccess;
}

cudaError_t enqueue_copy(State& s, CUstream_st& stream, Copy copy, cudaMemcpyKind kind) {
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  if (const cudaError_t status = check_copy(copy, kind); status != cudaSuccess) return status;
  const Place from = place_of(copy.from);
  if (from == Place::Host && place_of(copy.to) != Place::Host && !stream.capture) {
    // CUDA takes such memory at once, as the host may do with it what it likes.
    auto staged = std::make_shared<std::vector<char>>(copy.width * copy.height);
    Copy{staged->data(), copy.width, copy.from, copy.from_pitch, copy.width, copy.height}.run();
    copy.from = staged->data();
    copy.from_pitch = copy.width;
    return enqueue(s, stream, {[copy, staged] { copy.run(); }, true});
  }
  return enqueue(s, stream, {[copy] { copy.run(); }, true});
}

Copy flat(void* to, const void* from, std::size_t bytes) {
  return {static_cast<char*>(to), bytes, static_cast<const char*>(from), bytes, bytes, bytes > 0 ? 1u : 0u};
}

cudaError_t enqueue_fill(State& s, CUstream_st& stream, void* memory, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!is_of(memory, {Place::Device, Place::Managed}) || !is_whole(memory, bytes)) return cudaErrorInvalidValue;
  return enqueue(s, stream, {[=] { std::memset(memory, value, bytes); }});
}

// Kernels.

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

cudaError_t allocate_for(State& s, void** memory, std::size_t bytes, Place place) {
  if (!memory) return cudaErrorInvalidValue;
  *memory = nullptr;
  if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
  if (bytes == 0) return place == Place::Managed ? cudaErrorInvalidValue : cudaSuccess;
  *memory = allocate(place, thread_device, bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t free_of(State& s, void* memory, bool pinned) {
  if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
  if (!memory) return cudaSuccess;
  const Block* const block = block_of(memory);
  if (!block || block->begin != reinterpret_cast<std::uintptr_t>(memory) || (block->place == Place::Pinned) != pinned)
    die("memory is freed that was not allocated so, or is freed already");
  for (int device = 0; device < options().devices; ++device) {
    if (pinned || block->device == device) run_device(s, device);
  }
  release(*block);
  return cudaSuccess;
}

struct Text {
  cudaError_t error;
  const char *name, *text;
};
constexpr Text kTexts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported,
     "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated,
     "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge,
     "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched,
     "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation,
     "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit,
     "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent,
     "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread,
     "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorGraphExecUpdateFailure,
     "cudaErrorGraphExecUpdateFailure",
     "the graph update was not performed because it included changes which violated constraints specific to "
     "instantiated graph update"},
};

}  // namespace

namespace sparknet::emulation {

cudaError_t submit(cudaStream_t stream, std::function<void()> work) {
  return call([&](State& s) {
    CUstream_st* const to = stream_of(s, stream);
    return to->device == thread_device ? enqueue(s, *to, {std::move(work)}) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t may_wait() {
  return call(check_unsafe);
}

cudaError_t wait_for_device() {
  return cudaDeviceSynchronize();
}

int current_device() {
  return thread_device;
}

}  // namespace sparknet::emulation

extern "C" {

__attribute__((visibility("default"))) std::size_t emulated_bytes_in_use() {
  const std::lock_guard lock(state().mutex);
  return bytes_in_use();
}

// Devices.

cudaError_t cudaGetDeviceCount(int* count) {
  if (count) *count = 0;
  return call([&](State& s) {
    if (!count) return cudaErrorInvalidValue;
    *count = static_cast<int>(s.legacy.size());
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call([&](State&) {
    *device = thread_device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call([&](State& s) {
    if (device < 0 || device >= static_cast<int>(s.legacy.size())) return cudaErrorInvalidDevice;
    thread_device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call([&](State& s) {
    if (!value) return cudaErrorInvalidValue;
    if (device < 0 || device >= static_cast<int>(s.legacy.size())) return cudaErrorInvalidDevice;
    switch (attribute) {
      case cudaDevAttrMultiProcessorCount: *value = 4; break;
      case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
      case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
      case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
      case cudaDevAttrWarpSize: *value = 32; break;
      default: die("attribute " + std::to_string(attribute) + " of devices is not emulated");
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call([&](State& s) {
    if (!properties) return cudaErrorInvalidValue;
    if (device < 0 || device >= static_cast<int>(s.legacy.size())) return cudaErrorInvalidDevice;
    *properties = {};
    std::strcpy(properties->name, "emulated GPU");
    properties->major = 9;
    properties->multiProcessorCount = 4;
    properties->totalGlobalMem = options().memory_bytes;
    properties->maxThreadsPerBlock = 1024;
    properties->warpSize = 32;
    properties->managedMemory = properties->concurrentManagedAccess = properties->unifiedAddressing = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return call([&](State& s) {
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    cudaError_t status = cudaSuccess;
    for (const auto& stream : s.streams) {
      if (stream->device == thread_device && stream->capture) status = check_waits(s, *stream);
    }
    if (status == cudaSuccess) run_device(s, thread_device);
    return status;
  });
}

// Errors.

cudaError_t cudaGetLastError() {
  return std::exchange(thread_error, cudaSuccess);
}

cudaError_t cudaPeekAtLastError() {
  return thread_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  for (const Text& text : kTexts) {
    if (text.error == error) return text.name;
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  for (const Text& text : kTexts) {
    if (text.error == error) return text.text;
  }
  return "unrecognized error code";
}

// Memory.

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return call([&](State& s) { return allocate_for(s, memory, bytes, Place::Device); });
}

cudaError_t cudaMallocManaged(void** memory, std::size_t bytes, unsigned flags) {
  return call([&](State& s) {
    if (flags != cudaMemAttachGlobal && flags != cudaMemAttachHost) return cudaErrorInvalidValue;
    return allocate_for(s, memory, bytes, Place::Managed);
  });
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return call([&](State& s) { return allocate_for(s, memory, bytes, Place::Pinned); });
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  return cudaMallocHost(memory, bytes);
}

cudaError_t cudaFree(void* memory) {
  return call([&](State& s) { return free_of(s, memory, false); });
}

cudaError_t cudaFreeHost(void* memory) {
  return call([&](State& s) { return free_of(s, memory, true); });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return call([&](State&) {
    *total = options().memory_bytes;
    *free = *total - std::min(*total, bytes_in_use(thread_device));
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call([&](State&) {
    if (!attributes) return cudaErrorInvalidValue;
    *attributes = {};
    const Block* const block = block_of(pointer);
    void* const address = const_cast<void*>(pointer);
    attributes->device = block ? block->device : cudaInvalidDeviceId;
    if (block) attributes->devicePointer = address;
    if (!block || block->place != Place::Device) attributes->hostPointer = address;
    switch (block ? block->place : Place::Host) {
      case Place::Host: attributes->type = cudaMemoryTypeUnregistered; break;
      case Place::Pinned: attributes->type = cudaMemoryTypeHost; break;
      case Place::Managed: attributes->type = cudaMemoryTypeManaged; break;
      case Place::Device: attributes->type = cudaMemoryTypeDevice; break;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call([&](State& s) {
    CUstream_st* const legacy = stream_of(s, nullptr);
    if (cudaError_t status = check_implicit(s, *legacy); status != cudaSuccess) return status;
    if (cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (cudaError_t status = enqueue_copy(s, *legacy, flat(to, from, bytes), kind); status != cudaSuccess)
      return status;
    run_all(*legacy);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](State& s) { return enqueue_copy(s, *stream_of(s, stream), flat(to, from, bytes), kind); });
}

cudaError_t cudaMemcpy2DAsync(
    void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width, std::size_t height,
    cudaMemcpyKind kind, cudaStream_t stream) {
  const Copy copy{static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width, height};
  return call([&](State& s) { return enqueue_copy(s, *stream_of(s, stream), copy, kind); });
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return call([&](State& s) { return enqueue_fill(s, *stream_of(s, nullptr), memory, value, bytes); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return call([&](State& s) { return enqueue_fill(s, *stream_of(s, stream), memory, value, bytes); });
}

// Streams.

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([&](State& s) {
    if (!stream || (flags != cudaStreamDefault && flags != cudaStreamNonBlocking)) return cudaErrorInvalidValue;
    s.streams.push_back(std::make_shared<CUstream_st>(thread_device, false, flags == cudaStreamDefault));
    *stream = s.streams.back().get();
    s.handles.insert(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&](State& s) {
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (stream_of(s, stream)->capture) die("a stream is destroyed that records");
    s.handles.erase(stream);
    stream->destroyed = true;  // its work will be done still
    forget_destroyed(s);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const waited = stream_of(s, stream);
    if (const cudaError_t status = check_waits(s, *waited); status != cudaSuccess) return status;
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (waited->legacy) push_implicit_waits(s, *waited);
    run_all(*waited);
    return cudaSuccess;
  });
}

/// Time goes by while somebody asks: a piece of work is done.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const asked = stream_of(s, stream);
    if (const cudaError_t status = check_waits(s, *asked); status != cudaSuccess) return status;
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (asked->legacy) push_implicit_waits(s, *asked);
    if (asked->done == asked->submitted) return cudaSuccess;
    run_until(*asked, asked->done + 1);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return call([&](State& s) {
    CUstream_st* const waiting = stream_of(s, stream);
    if (!event) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
    known(s, event, "an event");
    const auto& capture = event->capture;
    if (waiting->capture && waiting->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!capture) {
      if (!event->record) return cudaSuccess;
      if (waiting->capture) {
        invalidate(*waiting->capture);
        return cudaErrorStreamCaptureIsolation;
      }
      if (const cudaError_t status = check_implicit(s, *waiting); status != cudaSuccess) return status;
      push_implicit_waits(s, *waiting);
      push_wait(*waiting, event->record->mark);
      return cudaSuccess;
    }
    if (capture->ended) return cudaErrorCapturedEvent;
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (waiting->legacy) {
      invalidate(*capture);
      return cudaErrorStreamCaptureImplicit;
    }
    if (!waiting->capture) {
      waiting->capture = capture;
      capture->streams.push_back(waiting);
      waiting->after.clear();
    } else if (waiting->capture != capture) {
      invalidate(*capture);
      invalidate(*waiting->capture);
      return cudaErrorStreamCaptureMerge;
    }
    for (const cudaGraphNode_t node : event->after) {
      auto& after = waiting->after;
      if (std::find(after.begin(), after.end(), node) == after.end()) after.push_back(node);
    }
    return cudaSuccess;
  });
}

// Events.

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&](State& s) {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (!event || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    *event = new CUevent_st{thread_device, (flags & cudaEventDisableTiming) == 0, {}, nullptr, {}};
    s.handles.insert(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    s.handles.erase(known(s, event, "an event"));
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&](State& s) {
    CUstream_st* const recorded = stream_of(s, stream);
    if (!event) return cudaErrorInvalidResourceHandle;
    known(s, event, "an event");
    if (event->device != recorded->device) return cudaErrorInvalidResourceHandle;
    if (recorded->capture) {
      if (recorded->capture->invalid) return cudaErrorStreamCaptureInvalidated;
      event->record.reset();
      event->capture = recorded->capture;
      event->after = recorded->after;
      return cudaSuccess;
    }
    const auto time = std::make_shared<std::chrono::steady_clock::time_point>();
    const cudaError_t status = enqueue(s, *recorded, {[time] { *time = std::chrono::steady_clock::now(); }});
    if (status != cudaSuccess) return status;
    event->capture = nullptr;
    event->record = Record{{shared(s, recorded), recorded->submitted}, time};
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    if (const auto& capture = known(s, event, "an event")->capture) {
      invalidate(*capture);
      return cudaErrorCapturedEvent;
    }
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (!event->record) return cudaSuccess;
    run_to(*event->record->mark.stream, event->record->mark.position);
    forget_destroyed(s);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](State& s) {
    if (!event) return cudaErrorInvalidResourceHandle;
    if (const auto& capture = known(s, event, "an event")->capture) {
      invalidate(*capture);
      return cudaErrorCapturedEvent;
    }
    if (const cudaError_t status = check_unsafe(s); status != cudaSuccess) return status;
    if (!event->record) return cudaSuccess;
    const Mark& mark = event->record->mark;
    if (mark.stream->done >= mark.position) return cudaSuccess;
    run_until(*mark.stream, mark.stream->done + 1);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([&](State& s) {
    if (!milliseconds) return cudaErrorInvalidValue;
    for (const cudaEvent_t event : {start, end}) {
      if (!event || !known(s, event, "an event")->timed || !event->record) return cudaErrorInvalidResourceHandle;
    }
    for (const cudaEvent_t event : {start, end}) {
      if (event->record->mark.stream->done < event->record->mark.position) return cudaErrorNotReady;
    }
    const std::chrono::duration<float, std::milli> elapsed = *end->record->time - *start->record->time;
    *milliseconds = elapsed.count();
    return cudaSuccess;
  });
}

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
