#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "sparknet/distributed/outer_optimizer.h"
#include "sparknet/distributed/round.h"

namespace sparknet {

/// How the gradients of a step become means over the workers while its backward pass goes on. Li et al. 2020, "PyTorch
/// Distributed".
struct SharedGradients {
  /// They are exchanged by so many bytes, as soon as these are complete: less is exchanged sooner, and more often.
  std::size_t bucket_bytes = std::size_t{4} << 20;
  /// By a thread of its own, where the communicator allows it; else a backward pass waits for each exchange.
  bool overlap = true;
};

/// How workers average: what AveragingSolver and RoundMaster have in common.
struct AveragingOptions {
  RoundPolicy round = {};
  /// Makes the schedule; empty: constant_rounds(round). Every worker makes one.
  std::function<std::unique_ptr<RoundSchedule>()> schedule = nullptr;
  Weighting weighting = Weighting::Examples;
  SolverHistory history = SolverHistory::Keep;
  /// Makes the outer optimizer; empty: plain_average(). Every worker makes one.
  std::function<std::unique_ptr<OuterOptimizer>()> outer = nullptr;
  /// For AveragingSolver: synchronous SGD. The workers use the mean of their gradients in every step, which makes it
  /// one on a batch of all their examples for every update rule, and keep the weights in common. A round ends by
  /// max_steps alone and brings what is counted and not learned, as running statistics, to its mean; there is no outer
  /// optimizer and no quorum.
  std::optional<SharedGradients> gradients = {};
  /// How many workers a round needs; 0: all. Where fewer come, it is an error.
  int quorum = 0;
  /// How long after the first the last worker may come; 0: as long as it takes.
  std::chrono::nanoseconds timeout = std::chrono::minutes(10);
};

}  // namespace sparknet
