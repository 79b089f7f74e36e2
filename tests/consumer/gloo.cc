// Links sparknet::gloo, and is a group of one.
#include "sparknet/distributed/gloo.h"

int main() {
  const auto alone = [](const std::string& mine) { return std::vector<std::string>{mine}; };
  const std::unique_ptr<sparknet::Communicator> group = sparknet::gloo_communicator(0, 1, alone);
  sparknet::Tensor values({3});
  group->all_reduce_sum(values);
  return group->size() == 1 ? 0 : 1;
}
