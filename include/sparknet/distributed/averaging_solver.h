#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "sparknet/distributed/averaging_options.h"
#include "sparknet/distributed/communicator.h"
#include "sparknet/solver.h"

namespace sparknet {

struct AveragingCallbacks {
  /// Called on every worker.
  std::function<void(const RoundStats&)> after_round = nullptr;
  /// Called on the worker that wrote it.
  std::function<void(const std::filesystem::path&)> snapshotted = nullptr;
  /// Asked on every worker at the end of each round; where one says true, solve() ends for all after that round.
  std::function<bool()> stop = nullptr;
};

/// SparkNet's parallel SGD, one worker's side: broadcast the weights, let every worker run its solver for a round on
/// its own part of the data, average, repeat. Moritz, Nishihara, Stoica, Jordan 2015. Every member of the group makes
/// one and calls the same methods; after each round all have the same weights, to the bit.
///
///     run_on_threads(4, [&](Communicator& workers) {
///       AveragingSolver(solver_param, net_param, workers, {.round = {.max_steps = 10}}).solve(source);
///     });
///
/// A worker that the others lost and that comes back takes over what they agreed on and contributes from the next round
/// on.
class AveragingSolver {
 public:
  /// Makes this worker's solver too. Its net draws its own dropout: the seed is another on each rank. Layers that bring
  /// their own examples have this worker's part of them, unless NetOptions::parts says otherwise.
  AveragingSolver(
      SolverParam param, NetParam net, Communicator& communicator, AveragingOptions options = {},
      NetOptions net_options = {});
  /// Takes a solver of the caller's, which outlives this. In both cases the first weights are those of rank 0.
  AveragingSolver(Solver& solver, Communicator& communicator, AveragingOptions options = {});
  ~AveragingSolver();
  AveragingSolver(const AveragingSolver&) = delete;
  AveragingSolver& operator=(const AveragingSolver&) = delete;

  /// This worker's part of the source: partition(source, rank, size).
  void set_training_data(SourcePtr source, FeedOptions options = {});
  /// This worker's solver, with its net.
  Solver& solver();
  /// The weights that all agree on: the net's own, but where an outer optimizer leaves workers theirs.
  WeightCollection weights() const;
  void set_callbacks(AveragingCallbacks callbacks);

  /// One round, up to the solver's max_iter unless that is reached already. The iteration, and with it the learning
  /// rate, goes on by the steps of the worker that made the most. Throws Error where no worker's weights are finite,
  /// and where fewer workers came than the quorum.
  RoundStats round();
  /// Rounds until the solver's max_iter. Writes snapshots as Solver::solve does:
  /// after the rounds in which the iteration passes a multiple of SolverParam::snapshot, and after the last. At the end
  /// every net has weights().
  void solve();
  void solve(SourcePtr source, FeedOptions options = {});

  /// Called by all workers, writes one file on one of them, atomically: everything the group needs to go on bit for
  /// bit. Throws DataError where it cannot be written.
  void snapshot(const std::filesystem::path& file);
  /// Called by all workers; rank 0 reads. In a group of as many workers all is as it was; in another each worker
  /// goes on with weights and iteration, the history of the old worker of its rank if there was one, and its share of
  /// the examples that were seen. Throws DataError on every worker for a file that is no whole snapshot or does not
  /// fit.
  void restore(const std::filesystem::path& file);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparknet
