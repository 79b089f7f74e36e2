#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sparknet/distributed/averaging_options.h"
#include "sparknet/distributed/contribution.h"
#include "sparknet/solver.h"
#include "sparknet/weights.h"

namespace sparknet {

/// What a worker is asked for: everything its part of a round depends on, but for its solver and its data. So any
/// worker can do it, again if need be, and the result is the same.
struct RoundTask {
  std::uint64_t schema = 0;
  std::int64_t round = 0, iteration = 0;
  RoundPolicy policy = {};
  Weighting weighting = Weighting::Examples;
  SolverHistory history = SolverHistory::Reset;
  Carries carries = Carries::Weights;
  /// Whether Contribution::squares is wanted.
  bool drift = false;
  /// The parameter arena, and each slot of the history where that is averaged.
  Tensor weights = {};
  std::vector<Tensor> slots = {};
  /// Where each worker goes on in its data, in the order of their numbers; one that is not listed begins at its
  /// beginning.
  std::vector<WorkerState> states = {};
};

/// What decode_round_task reads, in a vector of just its size.
std::vector<std::byte> encode(const RoundTask& task);
/// Throws DataError, which names `source` and the byte offset, for bytes that are no whole task.
RoundTask decode_round_task(std::span<const std::byte> bytes, const std::string& source = "round task");

/// One worker's part of a round: weights in, contribution out. The solver is as it comes, with this worker's part of
/// the data set; where the history is kept it must be the one that this worker had in the round before. Throws Error
/// where the task is of another net.
Contribution run_round_task(Solver& solver, const RoundTask& task, int worker);

/// Averaging SGD for engines that schedule and retry, Spark say: a master holds the weights, hands out tasks and makes
/// the next weights of what comes back. For the same inputs it yields the bits that AveragingSolver does.
///
///     while (!master.done()) {
///       const RoundTask task = master.task();
///       std::vector<Contribution> parts;  // by whatever runs tasks elsewhere: run_round_task(solver, task, worker)
///       const RoundStats stats = master.apply(std::move(parts));
///     }
class RoundMaster {
 public:
  /// For `workers` workers whose solvers are made of `param`; the first weights are `weights`. Throws Error for an
  /// outer optimizer that leaves workers weights of their own, which these have nowhere to keep.
  RoundMaster(
      SolverParam param, WeightCollection weights, int workers, AveragingOptions options = {},
      Carries carries = Carries::Weights);
  ~RoundMaster();
  RoundMaster(RoundMaster&&) noexcept;
  RoundMaster& operator=(RoundMaster&&) noexcept;

  const WeightCollection& weights() const;
  std::int64_t round() const;
  std::int64_t iteration() const;
  /// Whether the iteration is max_iter.
  bool done() const;

  /// Shares the master's memory until the next apply().
  RoundTask task() const;
  /// Ends the round with those workers that are in `parts`, in whatever order, each of one worker or of several that
  /// were merged and, where they were cut, joined. The next weights lie where the sums of one of them did, so that it
  /// takes no other memory than theirs and its own. Throws Error, and stays in the round, where fewer than the quorum
  /// count, and for parts of another round or net, slices, and the same worker twice.
  RoundStats apply(std::vector<Contribution> parts);

  /// As AveragingSolver's, and in the same format: what the one wrote the other reads. Throws Error where the history
  /// is kept, as that is with the workers.
  void snapshot(const std::filesystem::path& file) const;
  void restore(const std::filesystem::path& file);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparknet
