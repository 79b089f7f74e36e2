#pragma once

// What libsparknet_cuda.so is to the library, which loads it when a GPU is first asked for: one function that gives a
// table of functions. Plain data and C++17, as both sides may come from different compilers.

#include <cstddef>
#include <cstdint>

namespace sparknet::kernels::cuda {

/// Of the table below; a module of another version is refused.
constexpr std::uint32_t kModuleVersion = 1;
constexpr const char* kModuleFunction = "sparknet_cuda_module";

struct DeviceInfo {
  char name[256];
  /// The compute capability: 9 and 0 of sm_90.
  int major, minor;
  int multiprocessors;
  std::size_t memory_bytes, free_bytes;
};

struct Module {
  std::uint32_t version;
  /// Of CUDA, as 13000 for 13.0; the driver's is 0 where there is none.
  int runtime_version, driver_version;
  /// Null, or what is wrong.
  const char* (*count_devices)(int* count);
  const char* (*describe_device)(int index, DeviceInfo* info);
};

using ModuleFunction = const Module* (*)();

}  // namespace sparknet::kernels::cuda
