#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "sparknet/distributed/outer_optimizer.h"
#include "sparknet/distributed/round.h"

namespace sparknet {

/// How workers average: what AveragingSolver and RoundMaster have in common.
struct AveragingOptions {
  RoundPolicy round = {};
  /// Makes the schedule; empty: constant_rounds(round). Every worker makes one.
  std::function<std::unique_ptr<RoundSchedule>()> schedule = nullptr;
  Weighting weighting = Weighting::Examples;
  SolverHistory history = SolverHistory::Keep;
  /// Makes the outer optimizer; empty: plain_average(). Every worker makes one.
  std::function<std::unique_ptr<OuterOptimizer>()> outer = nullptr;
  /// How many workers a round needs; 0: all. Where fewer come, it is an error.
  int quorum = 0;
  /// How long after the first the last worker may come; 0: as long as it takes.
  std::chrono::nanoseconds timeout = std::chrono::minutes(10);
};

}  // namespace sparknet
