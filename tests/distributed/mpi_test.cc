// mpirun -n 3 sparknet_mpi_tests
#include "sparknet/distributed/mpi.h"

#include <doctest/doctest.h>

#include "tests/distributed/processes.h"

using namespace sparknet;

std::unique_ptr<Communicator> join_processes(std::chrono::nanoseconds timeout) {
  return mpi_communicator({.timeout = timeout});
}

TEST_CASE("MPI starts once") {
  CHECK_THROWS_WITH_AS(
      mpi_communicator(),
      "this process has had an MPI communicator, and MPI starts and ends with that one",
      Error);
}
