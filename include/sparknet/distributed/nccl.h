#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>

#include "sparknet/distributed/communicator.h"

namespace sparknet {

/// The name of a group, which its members must know to find each other: one makes it and tells the others, by a
/// broadcast of another communicator, say.
using NcclId = std::array<std::byte, 128>;
/// Throws DeviceError where NCCL cannot be used.
NcclId make_nccl_id();

struct NcclOptions {
  /// Of each exchange; 0: no limit.
  std::chrono::nanoseconds timeout = std::chrono::minutes(10);
};

/// Member `rank` of a group of `size` that exchange over NCCL, each with a GPU of its own, number `device`; all make
/// theirs at the same time, in one process or in several. Made in libsparknet_nccl, the CMake target sparknet::nccl,
/// which is there where the library was built with the CUDA Toolkit and NCCL. Tensors on the GPU are exchanged where
/// they are; those on the CPU go there and back.
///
/// All members get the same bits, but NCCL does not add in the order of the ranks: they are not those of threads and
/// MPI. A barrier ignores its quorum. What does not end within its time throws Error, and so does every later call.
/// Throws DeviceError where there is no such GPU, and for what CUDA and NCCL report.
std::unique_ptr<Communicator> nccl_communicator(
    const NcclId& id, int rank, int size, int device, const NcclOptions& options = {});

}  // namespace sparknet
