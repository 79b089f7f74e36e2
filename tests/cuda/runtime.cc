#include <cstring>

#include "tests/cuda/streams.h"

using namespace sparknet::emulation;

namespace {

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
      case cudaDevAttrComputeCapabilityMajor: *value = options().major; break;
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
    properties->major = options().major;
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

}  // extern "C"
