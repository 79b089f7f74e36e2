#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sparknet/distributed/communicator.h"

namespace sparknet {

/// How the members of a group that is not yet one find each other: every member calls it once, with a line of text of
/// its own, and gets the lines of all, in the order of their ranks. By whatever there is: a file system, a key-value
/// store, a connection of each to whoever started them.
using AllGather = std::function<std::vector<std::string>(const std::string& mine)>;

struct GlooOptions {
  /// Where the others reach this process: an address of this machine, or a name of one. Empty: the machine's own name,
  /// which must then not stand for 127.0.0.1 where members are on several.
  std::string host = {};
  /// For the connections, and for each exchange before the first barrier that gives a limit; 0: no limit.
  std::chrono::nanoseconds timeout = std::chrono::minutes(10);
};

/// Member `rank` of a group of `size` processes, or threads, that whoever started them: nothing like mpirun is needed.
/// They talk over TCP by Gloo. Made in libsparknet_gloo, the CMake target sparknet::gloo, which is there where the
/// library was built with Gloo.
///
/// Sums have the bits of those among threads. Gloo cannot go on without a member, so a barrier ignores its quorum and
/// all attend. Where a member is gone, or an exchange does not end within its time, it throws Error, and so does every
/// later call. A member must leave with the others: its destructor waits for them unless an exception passes or it was
/// abandoned. Throws Error where the members do not find each other.
std::unique_ptr<Communicator> gloo_communicator(
    int rank, int size, const AllGather& all_gather, const GlooOptions& options = {});

}  // namespace sparknet
