#include "kernels/cuda/module.h"

#include <cuda_runtime_api.h>

#include <cstring>

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

}  // namespace

extern "C" __attribute__((visibility("default"))) const Module* sparknet_cuda_module() {
  static const Module module = [] {
    Module made{kModuleVersion, 0, 0, count_devices, describe_device};
    cudaRuntimeGetVersion(&made.runtime_version);
    cudaDriverGetVersion(&made.driver_version);
    return made;
  }();
  return &module;
}
