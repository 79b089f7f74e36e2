#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "sparknet/distributed/communicator.h"
#include "sparknet/distributed/outer_optimizer.h"
#include "sparknet/solver.h"

namespace sparknet {

/// When a worker ends its part of a round: at the first limit reached, and after one step at least. 0: no such limit.
struct RoundPolicy {
  /// SparkNet's tau.
  std::int64_t max_steps = 50;
  std::int64_t max_examples = 0;
  std::chrono::nanoseconds max_time{0};
};

/// What a worker did in its part of a round.
struct RoundReport {
  std::int64_t steps = 0, examples = 0;
  /// The sum of the steps' losses.
  double loss_sum = 0;
};

/// Runs a solver until the policy says that the round is over. Throws Error for a policy without any limit.
RoundReport run_round(Solver& solver, const RoundPolicy& policy);

/// How much a worker's weights count in the mean.
enum class Weighting : std::uint8_t { Uniform, Examples, Steps };

/// What becomes of a worker's solver history (its momentum) when the weights are averaged. Kept, a round of one step on
/// K workers is one step on a batch K times as large, for every rule that is linear in the gradient. Reset, a
/// worker's next round depends on the weights alone.
enum class SolverHistory : std::uint8_t { Keep, Reset };

struct AveragingOptions {
  RoundPolicy round = {};
  Weighting weighting = Weighting::Examples;
  SolverHistory history = SolverHistory::Keep;
  /// Makes each worker's outer optimizer; empty: plain_average().
  std::function<std::unique_ptr<OuterOptimizer>()> outer = nullptr;
};

/// What a round did, over all workers.
struct RoundStats {
  std::int64_t round = 0;
  /// How many workers count, and how many were left out because their weights were not finite.
  int workers = 0, rejected = 0;
  /// How many workers asked for an end.
  int stops = 0;
  std::int64_t steps = 0, examples = 0;
  /// The mean over the steps of the workers that count.
  double loss = 0;
  /// Of this worker: its own steps, and the exchange with waiting for the others.
  std::chrono::nanoseconds train_time{0}, exchange_time{0};
};

struct AveragingCallbacks {
  /// Called on every worker.
  std::function<void(const RoundStats&)> after_round = nullptr;
  /// Asked on every worker at the end of each round; where one says true, solve() ends for all after that round.
  std::function<bool()> stop = nullptr;
};

/// SparkNet's parallel SGD, one worker's side: broadcast the weights, let every worker run its solver for a round on
/// its own part of the data, average, repeat. Moritz, Nishihara, Stoica, Jordan 2015. Every member of the group makes
/// one and calls the same methods; after each round all have the same weights, to the bit.
///
///     run_on_threads(4, [&](Communicator& workers) {
///       AveragingSolver solver(solver_param, net_param, workers, {.round = {.max_steps = 10}});
///       solver.set_training_data(source);
///       solver.solve();
///     });
class AveragingSolver {
 public:
  /// Makes this worker's solver too. Its net draws its own dropout: the seed is another on each rank.
  AveragingSolver(
      SolverParam param, NetParam net, Communicator& communicator, AveragingOptions options = {},
      NetOptions net_options = {});
  /// Takes a solver of the caller's, which outlives this. In both cases the first weights are those of rank 0.
  AveragingSolver(Solver& solver, Communicator& communicator, AveragingOptions options = {});

  /// This worker's part of the source: partition(source, rank, size).
  void set_training_data(SourcePtr source, FeedOptions options = {});
  /// This worker's solver, with its net.
  Solver& solver() { return solver_; }
  void set_callbacks(AveragingCallbacks callbacks);

  /// One round. The iteration, and with it the learning rate, goes on by the steps of the worker that made the most.
  /// Throws Error where no worker's weights are finite.
  RoundStats round();
  /// Rounds until the solver's max_iter; the last is as short as it must be.
  void solve();

 private:
  void begin();
  void average(RoundStats& stats, const RoundReport& report, std::int64_t first_iteration);

  std::unique_ptr<Solver> own_;
  Solver& solver_;
  Communicator& communicator_;
  AveragingOptions options_;
  AveragingCallbacks callbacks_;
  std::unique_ptr<OuterOptimizer> outer_;
  Tensor start_;
  std::int64_t rounds_ = 0;
};

}  // namespace sparknet
