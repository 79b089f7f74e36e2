#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparknet/device.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// Who takes part in the exchanges up to the next barrier.
struct Attendance {
  /// The ranks of those who do, ascending.
  std::vector<int> present;
  /// Those of them who were away before and so do not know what the others agreed on meanwhile.
  std::vector<int> newcomers;
  /// What became of those who were lost since the last barrier: "worker 2: the disk is full".
  std::vector<std::string> faults;

  /// Whether `rank` is a newcomer.
  bool is_new(int rank) const;
  /// The lowest rank that knows everything.
  int root() const;
};

/// What the members of a group of workers say to each other. Every member makes the same calls in the same order; a
/// call returns when its part is done. Transport is somebody else's: threads here, MPI in mpi.h, and any object of a
/// user's own. Tensors are dense, and of one shape and type everywhere.
class Communicator {
 public:
  virtual ~Communicator() = default;

  /// This member's number, from 0 to size() - 1.
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Waits for all members. Where some do not come within `timeout` of the first, and at least `quorum` did, goes on
  /// without them; they may come to a later barrier. Throws Error on every member that came where fewer did. 0: no
  /// limit of time; a quorum of all. This default waits for all, for ever.
  virtual Attendance barrier(std::chrono::nanoseconds timeout = {}, int quorum = 0);
  /// Every member's `values` become those of member `root`.
  virtual void broadcast(Tensor& values, int root) = 0;
  /// Every member's `values` become the sum over the members: the same bits for all. Those of this library add in the
  /// order of the ranks, ((v0 + v1) + v2) + ..., so that all of them yield the same bits.
  virtual void all_reduce_sum(Tensor& values) = 0;
  /// The same of `scale * values`, and divided by `divisor`. A member whose scale is 0 adds nothing, whatever its
  /// values are; the divisor is the same everywhere. This default makes passes of its own over `values`.
  virtual void all_reduce_mean(Tensor& values, double scale, double divisor);
  /// Whether tensors on `device` can be exchanged; on the CPU they always can.
  virtual bool reaches(Device device) const { return device == Device::cpu(); }
  /// Whether exchanges may be made on another thread than the one that made this, one at a time.
  virtual bool works_on_any_thread() const { return true; }
  /// Leaves the group together with the others, where that is more than to be destroyed: waits until all have called
  /// it. Nothing is exchanged afterwards. A destructor does it too, unless it is an exception that destroys.
  virtual void leave() {}
  /// This member will not go on: its destructor is not to leave together with the others, whose next exchange throws.
  virtual void abandon() {}
};

/// What run_on_threads does at its end about a worker that the others lost and that has not returned, as C++ cannot end
/// a thread: waits for it, or leaves it running. Then a copy of `work` and all that it refers to are still in use.
enum class LostWorkers : std::uint8_t { Await, Abandon };

/// Calls `work` on `workers` threads, this one among them, each with its own member of one group, and returns when all
/// have. Where a worker has returned or thrown, the others' next exchange throws Error, unless a barrier in between
/// went on without it. The first exception is thrown here, but for those of workers that the others went on without.
void run_on_threads(int workers, const std::function<void(Communicator&)>& work, LostWorkers lost = LostWorkers::Await);

}  // namespace sparknet
