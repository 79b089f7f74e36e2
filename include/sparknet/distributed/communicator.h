#pragma once

#include <functional>

#include "sparknet/tensor.h"

namespace sparknet {

/// What the members of a group of workers say to each other. Every member makes the same calls in the same order; a
/// call returns when its part is done. Transport is somebody else's: threads here, and any object of a user's own.
class Communicator {
 public:
  virtual ~Communicator() = default;

  /// This member's number, from 0 to size() - 1.
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Every member's `values` become those of member `root`. Dense, and of one shape and type everywhere.
  virtual void broadcast(Tensor& values, int root) = 0;
  /// Every member's `values` become the sum over the members: the same bits for all, added in the order of the ranks.
  virtual void all_reduce_sum(Tensor& values) = 0;
};

/// Calls `work` on `workers` threads, each with its own member of one group, and returns when all have. Where a worker
/// has returned or thrown, the others' next call to their communicator throws Error; the first exception is thrown
/// here.
void run_on_threads(int workers, const std::function<void(Communicator&)>& work);

}  // namespace sparknet
