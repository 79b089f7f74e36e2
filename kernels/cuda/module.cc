#include "kernels/cuda/module.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <exception>
#include <string>

#include "kernels/cuda/backend.h"

namespace {

using namespace sparknet::kernels::cuda;

const char* text_of(cudaError_t status) {
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

const char* count_devices(int* count) {
  *count = 0;
  return text_of(cudaGetDeviceCount(count));
}

const char* describe_device(int index, DeviceInfo* info) {
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess)
    return text_of(status);
  static_assert(sizeof info->name == sizeof properties.name);
  std::memcpy(info->name, properties.name, sizeof info->name);
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  int before = 0;
  cudaGetDevice(&before);
  if (const cudaError_t status = cudaSetDevice(index); status != cudaSuccess) return text_of(status);
  const cudaError_t status = cudaMemGetInfo(&info->free_bytes, &info->memory_bytes);
  cudaSetDevice(before);
  return text_of(status);
}

/// The text that was last thrown; a caller reads it before it calls again.
thread_local std::string wrong;

const char* make_backend(const BackendOptions* options, sparknet::kernels::Backend** made) {
  try {
    *made = new CudaBackend(*options);
    return nullptr;
  } catch (const std::exception& error) {
    wrong = error.what();
    return wrong.c_str();
  }
}

const char* allocate_shared(std::size_t bytes, void** memory) {
  return text_of(cudaMallocManaged(memory, bytes > 0 ? bytes : 1, cudaMemAttachGlobal));
}

void release_shared(void* memory) {
  cudaFree(memory);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const Module* sparknet_cuda_module() {
  static const Module module = [] {
    Module made{kModuleVersion, 0, 0, count_devices, describe_device, make_backend, allocate_shared, release_shared};
    cudaRuntimeGetVersion(&made.runtime_version);
    cudaDriverGetVersion(&made.driver_version);
    return made;
  }();
  return &module;
}
