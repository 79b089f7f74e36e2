#include "sparknet/distributed/averaging_solver.h"

#include <algorithm>
#include <cmath>

#include "sparknet/error.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

/// Workers draw different numbers; rank 0 draws those it would draw alone.
NetOptions for_rank(NetOptions options, int rank) {
  options.seed += static_cast<std::uint64_t>(rank) << 32;
  return options;
}

bool is_finite(const Tensor& values) {
  return dispatch(values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    // x - x is 0 for finite numbers alone, and so is their sum.
    double sum = 0;
    for (const T x : values.span<T>()) sum += static_cast<double>(x - x);
    return sum == 0;
  });
}

double weight_of(Weighting weighting, const RoundReport& report) {
  switch (weighting) {
    case Weighting::Uniform: break;
    case Weighting::Examples: return static_cast<double>(report.examples);
    case Weighting::Steps: return static_cast<double>(report.steps);
  }
  return 1;
}

}  // namespace

RoundReport run_round(Solver& solver, const RoundPolicy& policy) {
  if (policy.max_steps <= 0 && policy.max_examples <= 0 && policy.max_time.count() <= 0)
    throw Error("RoundPolicy: no limit is given, so the round would never end; set .max_steps, say");
  const Clock::time_point begin = Clock::now();
  const std::int64_t examples = solver.examples_per_step();
  RoundReport report;
  do {
    report.loss_sum += solver.step();
    ++report.steps;
    report.examples += examples;
  } while ((policy.max_steps <= 0 || report.steps < policy.max_steps) &&
           (policy.max_examples <= 0 || report.examples < policy.max_examples) &&
           (policy.max_time.count() <= 0 || Clock::now() - begin < policy.max_time));
  return report;
}

AveragingSolver::AveragingSolver(
    SolverParam param, NetParam net, Communicator& communicator, AveragingOptions options, NetOptions net_options)
    : own_(std::make_unique<Solver>(
          std::move(param), std::move(net), for_rank(std::move(net_options), communicator.rank()))),
      solver_(*own_),
      communicator_(communicator),
      options_(std::move(options)) {
  begin();
}

AveragingSolver::AveragingSolver(Solver& solver, Communicator& communicator, AveragingOptions options)
    : solver_(solver), communicator_(communicator), options_(std::move(options)) {
  begin();
}

void AveragingSolver::begin() {
  outer_ = options_.outer ? options_.outer() : plain_average();
  Tensor weights = solver_.net().param_arena();
  communicator_.broadcast(weights, 0);
  if (outer_->needs_start()) start_ = weights.copy();
}

void AveragingSolver::set_callbacks(AveragingCallbacks callbacks) {
  callbacks_ = std::move(callbacks);
}

void AveragingSolver::set_training_data(SourcePtr source, FeedOptions options) {
  solver_.set_training_data(
      partition(std::move(source), communicator_.rank(), communicator_.size()),
      std::move(options));
}

RoundStats AveragingSolver::round() {
  const std::int64_t first = solver_.iteration();
  const Clock::time_point begin = Clock::now();
  RoundStats stats{.round = rounds_++};
  const RoundReport report = run_round(solver_, options_.round);
  const Clock::time_point trained = Clock::now();
  average(stats, report, first);
  stats.train_time = trained - begin;
  stats.exchange_time = Clock::now() - trained;
  return stats;
}

void AveragingSolver::average(RoundStats& stats, const RoundReport& report, std::int64_t first_iteration) {
  Tensor weights = solver_.net().param_arena();
  const bool finite = is_finite(weights) && std::isfinite(report.loss_sum);
  const double weight = finite ? weight_of(options_.weighting, report) : 0;
  enum { Weight, Workers, Steps, Examples, Loss, LossSteps, Stops, Count };
  const std::size_t ranks = static_cast<std::size_t>(communicator_.size());
  // A sum can carry a maximum too: every rank has a place of its own for its steps.
  Tensor sums(Shape(Count + ranks), DType::F64);
  const auto s = sums.span<double>();
  s[Weight] = weight;
  s[Workers] = finite;
  s[Steps] = static_cast<double>(report.steps);
  s[Examples] = static_cast<double>(report.examples);
  s[Loss] = finite ? report.loss_sum : 0;
  s[LossSteps] = finite ? static_cast<double>(report.steps) : 0;
  s[Stops] = callbacks_.stop && callbacks_.stop();
  s[Count + static_cast<std::size_t>(communicator_.rank())] = static_cast<double>(report.steps);
  communicator_.all_reduce_sum(sums);
  stats.workers = static_cast<int>(s[Workers]);
  stats.rejected = communicator_.size() - stats.workers;
  stats.stops = static_cast<int>(s[Stops]);
  stats.steps = static_cast<std::int64_t>(s[Steps]);
  stats.examples = static_cast<std::int64_t>(s[Examples]);
  if (stats.workers == 0)
    throw Error("no worker's weights are finite after the round: the learning rate may be too high");
  stats.loss = s[Loss] / s[LossSteps];

  // Relative to the mean weight, so that equal workers are added as they are, and one alone is not touched.
  const double scale = weight * stats.workers / s[Weight];
  if (!finite)
    weights.fill(0);
  else if (scale != 1)
    weights.multiply(scale);
  communicator_.all_reduce_sum(weights);
  if (stats.workers != 1) weights.divide(stats.workers);
  outer_->step(start_, weights);
  if (start_.defined()) start_.copy_from(weights);
  if (!finite || options_.history == SolverHistory::Reset) solver_.reset_history();
  solver_.set_iteration(first_iteration + static_cast<std::int64_t>(*std::max_element(s.begin() + Count, s.end())));
}

void AveragingSolver::solve() {
  const RoundPolicy policy = options_.round;
  for (bool stopped = false; !stopped && solver_.iteration() < solver_.param().max_iter;) {
    const std::int64_t left = solver_.param().max_iter - solver_.iteration();
    options_.round.max_steps = policy.max_steps > 0 ? std::min(policy.max_steps, left) : left;
    const RoundStats stats = round();
    if (callbacks_.after_round) callbacks_.after_round(stats);
    stopped = stats.stops > 0;
  }
  options_.round = policy;
}

}  // namespace sparknet
