// What rank_faults_test.sh runs on every rank: rank_faults CASE [LIMIT]. Rank 1 comes to grief as CASE says; exchanges
// take LIMIT seconds at most.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "sparknet/error.h"
#include "tests/distributed/processes.h"

using namespace sparknet;

namespace {

/// A signal in the middle of whatever is done a little later.
void strike(int signal) {
  std::thread([signal] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    kill(getpid(), signal);
  }).detach();
}

void come_to_grief(std::string_view how) {
  if (how == "hang") std::this_thread::sleep_for(std::chrono::minutes(1));
  if (how == "stop") strike(SIGSTOP);
  if (how == "kill") strike(SIGKILL);
  if (how == "throw") throw std::runtime_error("the disk is full");
}

void exchange(Communicator& group, std::string_view how) {
  Tensor values(Shape{700001});
  for (int i = 0;; ++i) {
    if (i == 20 && group.rank() == 1) come_to_grief(how);
    group.all_reduce_mean(values, 1, 2);
    if (i % 10 == 0) group.broadcast(values, 0);
  }
}

}  // namespace

int main(int, char** argv) {
  const std::string_view how = argv[1];
  try {
    const std::unique_ptr<Communicator> group = join_processes(std::chrono::seconds(argv[2] ? std::atoi(argv[2]) : 60));
    if (how == "barrier") {  // the others come to one that rank 1 does not come to
      if (group->rank() == 1) std::this_thread::sleep_for(std::chrono::minutes(1));
      (void)group->barrier(std::chrono::seconds(2));
    } else if (how == "end") {  // rank 1 is not at the end with the others
      if (group->rank() == 1) std::this_thread::sleep_for(std::chrono::minutes(1));
    } else if (how == "leave") {  // rank 1 ends as if all were done
      if (group->rank() != 1) exchange(*group, how);
    } else if (how == "broken") {
      try {
        exchange(*group, "hang");
      } catch (const Error&) {
        (void)group->barrier();  // says it again, at once
      }
    } else {
      exchange(*group, how);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "told: %s\n", error.what());
    return 1;
  }
  // Here who left is gone, and the others have a moment to say so before they are ended.
  if (how == "leave") std::this_thread::sleep_for(std::chrono::seconds(1));
  return 0;
}
