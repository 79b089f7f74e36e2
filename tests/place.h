#pragma once

// Where tests of kernels and layers run: on the CPU, or, where SPARKNET_TEST_DEVICE says "cuda", on the first GPU, or
// on what stands for it where SPARKNET_CUDA_MODULE names the module of tests/cuda.

#include <cstddef>
#include <memory>

#include "kernels/kernels.h"

namespace sparknet::test {

bool on_gpu();

/// Waits for each piece of work.
std::shared_ptr<kernels::Backend> make_gpu_backend();

/// Memory for the host and for what the tests run on, aligned to 64 bytes, of `bytes` and not one more.
std::shared_ptr<void> shared_memory(std::size_t bytes);

}  // namespace sparknet::test
