#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sparknet/device.h"

namespace sparknet {

/// A GPU of this machine.
struct CudaDevice {
  Device device;
  std::string name;
  /// The compute capability: 9 and 0 of sm_90.
  int major = 0, minor = 0;
  int multiprocessors = 0;
  std::size_t memory_bytes = 0, free_bytes = 0;
};

/// The GPUs of this machine, of which there is one at least. The first call loads libsparknet_cuda.so: from where
/// SPARKNET_CUDA_MODULE says, or from beside the library or the program, or from where the system looks. Throws
/// DeviceError that says what is missing: the module, a library it needs, the driver, or a GPU.
std::vector<CudaDevice> cuda_devices();

}  // namespace sparknet
