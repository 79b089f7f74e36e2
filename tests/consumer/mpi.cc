// Links sparknet::mpi, and is a group of one where nobody started more.
#include "sparknet/distributed/mpi.h"

int main() {
  const std::unique_ptr<sparknet::Communicator> group = sparknet::mpi_communicator();
  sparknet::Tensor values({3});
  group->all_reduce_sum(values);
  return group->size() == 1 ? 0 : 1;
}
