#pragma once

// What libsparknet_cuda.so is to the library, which loads it when a GPU is first asked for: one function that gives a
// table of functions. C++17, as both sides may come from different compilers.

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace sparknet::kernels::cuda {

/// Of the table below; a module of another version is refused.
constexpr std::uint32_t kModuleVersion = 3;
constexpr const char* kModuleFunction = "sparknet_cuda_module";

struct DeviceInfo {
  char name[256];
  /// The compute capability: 9 and 0 of sm_90.
  int major, minor;
  int multiprocessors;
  std::size_t memory_bytes, free_bytes;
};

struct BackendOptions {
  int device = 0;
  /// Lets convolutions and inner products round the factors of products to TF32's 10 bits, on GPUs that can.
  bool tf32 = false;
  /// Waits for each piece of work, so that an error is thrown where it is made and memory that the host shares can be
  /// read at once; for tests.
  bool waits = false;
};

struct Module {
  std::uint32_t version;
  /// Of CUDA, as 13000 for 13.0; the driver's is 0 where there is none.
  int runtime_version, driver_version;
  /// Null, or what is wrong.
  const char* (*count_devices)(int* count);
  const char* (*describe_device)(int index, DeviceInfo* info);
  /// The backend throws DeviceError where the GPU fails.
  const char* (*make_backend)(const BackendOptions* options, Backend** made);
  /// Memory that the host and GPUs read and write, but not while work is being done; for tests.
  const char* (*allocate_shared)(std::size_t bytes, void** memory);
  void (*release_shared)(void* memory);
};

using ModuleFunction = const Module* (*)();

}  // namespace sparknet::kernels::cuda
