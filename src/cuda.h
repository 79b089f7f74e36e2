#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cuda/module.h"

namespace sparknet {

/// A net's place on a GPU, by the module that cuda_devices() loads. Throws DeviceError as that does, and where there is
/// no such GPU.
std::shared_ptr<kernels::Backend> make_cuda_backend(const kernels::cuda::BackendOptions& options);

/// Memory that the host and GPUs read and write, but not while work is being done; for tests.
std::shared_ptr<void> make_shared_memory(std::size_t bytes);

}  // namespace sparknet
