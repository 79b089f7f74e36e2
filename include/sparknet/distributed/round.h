#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sparknet/solver.h"

namespace sparknet {

/// When a worker ends its part of a round: at the first limit reached, and after one step at least. 0: no such limit.
struct RoundPolicy {
  /// SparkNet's tau.
  std::int64_t max_steps = 50;
  std::int64_t max_examples = 0;
  std::chrono::nanoseconds max_time{0};

  bool operator==(const RoundPolicy&) const = default;
};

/// What a worker did in its part of a round.
struct RoundReport {
  std::int64_t steps = 0, examples = 0;
  /// The sum of the steps' losses.
  double loss_sum = 0;
  std::chrono::nanoseconds time{0};
};

/// Runs a solver until the policy says that the round is over. Throws Error for a policy without any limit.
RoundReport run_round(Solver& solver, const RoundPolicy& policy);

/// How much a worker's weights count in the mean.
enum class Weighting : std::uint8_t { Uniform, Examples, Steps };

/// What becomes of a worker's solver history (its momentum) when the weights are averaged. Kept, a round of one step on
/// K workers is one step on a batch K times as large, for every rule that is linear in the gradient. Reset, a
/// worker's next round depends on the weights alone. Averaged, it depends on nothing that one worker alone has, at the
/// price of sending each slot of the history too.
enum class SolverHistory : std::uint8_t { Keep, Reset, Average };

/// What a round did, over all workers. Equal on all of them, but for the times.
struct RoundStats {
  std::int64_t round = 0;
  /// The iterations it began at and led to, and its own limit of steps.
  std::int64_t first_iteration = 0, iteration = 0, max_steps = 0;
  /// How many workers count; how many were left out because their weights were not finite; how many because they came
  /// back from being lost; and how many are away.
  int workers = 0, rejected = 0, returned = 0, lost = 0;
  /// What became of those lost in this round.
  std::vector<std::string> faults = {};
  /// How many workers asked for an end.
  int stops = 0;
  std::int64_t steps = 0, examples = 0;
  /// The mean over the steps of the workers that count.
  double loss = 0;
  /// The learning rate of the round's first step.
  double rate = 0;
  /// The weighted mean of |x_i - mean|^2 over the workers; -1 where nobody asked for it.
  double drift = -1;
  /// Of this worker: its own steps, waiting for the others, the exchange, and what follows from it.
  std::chrono::nanoseconds train_time{0}, wait_time{0}, exchange_time{0}, apply_time{0};
};

/// Says how long each round is. Every worker has an equal one and shows it the same numbers, so all agree.
class RoundSchedule {
 public:
  virtual ~RoundSchedule() = default;
  virtual std::string_view name() const = 0;
  /// The next round's limits; it begins at `iteration`.
  virtual RoundPolicy next(std::int64_t iteration) const = 0;
  /// Told after each round.
  virtual void after(const RoundStats& stats);
  /// Whether RoundStats::drift must be there, which costs a pass over the weights and a copy of them.
  virtual bool needs_drift() const { return false; }
  /// What it remembers, for snapshots and newcomers; always as many numbers.
  virtual std::vector<double> state() const { return {}; }
  virtual void set_state(std::span<const double> state);
};

/// The same limits always.
std::unique_ptr<RoundSchedule> constant_rounds(RoundPolicy policy);
/// Rounds of one step until the iteration, then `policy`: post-local SGD (Lin et al. 2018).
std::unique_ptr<RoundSchedule> warm_up_rounds(std::int64_t iterations, RoundPolicy policy);

struct AdaptiveTauOptions {
  std::int64_t initial = 4, least = 1, most = 1000;
  /// The rounds whose mean of drift / rate becomes the measure of the later ones.
  std::int64_t sampling_rounds = 20;
  /// Below this share of the measure tau grows by one, above that it shrinks by one.
  double low = 0.7, high = 1.3;
};
/// Sends when it matters: tau follows the drift between the workers, which is small where the rate is. Jiang and
/// Agrawal 2020, "Adaptive periodic averaging"; the measure here is drift / rate^2, in which a drift of plain SGD's is
/// constant.
std::unique_ptr<RoundSchedule> adaptive_tau(const AdaptiveTauOptions& options = {});

}  // namespace sparknet
