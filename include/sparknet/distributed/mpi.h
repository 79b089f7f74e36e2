#pragma once

#include <chrono>
#include <memory>

#include "sparknet/distributed/communicator.h"

namespace sparknet {

struct MpiOptions {
  /// The time for each exchange before the first barrier, and for all to come to the end; 0: no limit. An exchange
  /// after a barrier that gave a limit has that one.
  std::chrono::nanoseconds timeout = std::chrono::minutes(10);
};

/// This process's member of a group of all processes that mpirun started: those of MPI_COMM_WORLD. Made in
/// libsparknet_mpi, the CMake target sparknet::mpi, which is there where the library was built with MPI.
///
/// Starts MPI (MPI_THREAD_FUNNELED) unless the program has, and then ends it in the destructor; as MPI cannot start
/// twice, a process can do this once. All methods, and the destructor, are called on the thread that made the member.
///
/// MPI cannot go on without a rank, so a barrier ignores its quorum and all attend. What does not end within its time
/// throws Error; so does every later call, and the process is then to end. The destructor does not end MPI after such
/// an Error, nor while an exception passes: the process leaves as it is, and mpirun ends the others.
std::unique_ptr<Communicator> mpi_communicator(const MpiOptions& options = {});

}  // namespace sparknet
