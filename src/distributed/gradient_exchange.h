#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/kernels.h"
#include "sparknet/distributed/averaging_options.h"
#include "sparknet/distributed/communicator.h"

namespace sparknet::detail {

/// Makes the gradients of a solver's steps the means over a group, a worker counting by the examples of its step. They
/// are cut into buckets, runs of neighbouring parameters, from the end of the arena to its beginning; these are
/// exchanged in that order on all workers, each once its gradients and those of the buckets before it are complete.
class GradientExchange final : public GradientHook {
 public:
  /// Becomes the hook of `solver`. Called by all members at the same time.
  GradientExchange(Solver& solver, Communicator& group, const SharedGradients& options);
  /// Exchanges that have begun come to their end, which the other members' part in them brings.
  ~GradientExchange() override;
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  void begin() override;
  void ready(std::size_t param) override;
  void finish() override;

 private:
  struct Bucket {
    std::size_t params = 0, missing = 0;
    /// In the arena.
    Tensor gradients;
    /// What is exchanged: `gradients`, or a copy where the group does not reach them.
    Tensor exchanged;
    /// On a device: of the copy, or of anything, to know when the gradients are there.
    std::unique_ptr<kernels::Download> arrival = nullptr;
  };

  void cut_into_buckets(std::size_t bytes);
  void exchange(Bucket& bucket);
  void work();

  Solver& solver_;
  Communicator& group_;
  bool reaches_;
  double scale_ = 1, divisor_ = 1;
  std::vector<Bucket> buckets_;
  /// The bucket of each parameter that learns.
  std::vector<std::size_t> bucket_of_;

  // How many buckets of this step were handed over, and how many of them are done.
  std::size_t begun_ = 0, done_ = 0;
  std::exception_ptr error_;
  bool stops_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;  // none where exchanges are made at once
};

}  // namespace sparknet::detail
