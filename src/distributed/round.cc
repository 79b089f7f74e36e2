#include "sparknet/distributed/round.h"

#include <fmt/format.h>

#include <algorithm>

#include "sparknet/error.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

bool has_limit(const RoundPolicy& policy) {
  return policy.max_steps > 0 || policy.max_examples > 0 || policy.max_time.count() > 0;
}

void require_limit(const RoundPolicy& policy) {
  if (!has_limit(policy))
    throw Error("RoundPolicy: no limit is given, so the round would never end; set .max_steps, say");
}

class ConstantRounds final : public RoundSchedule {
 public:
  explicit ConstantRounds(RoundPolicy policy) : policy_(policy) {}
  std::string_view name() const override { return "constant"; }
  RoundPolicy next(std::int64_t) const override { return policy_; }

 private:
  RoundPolicy policy_;
};

class WarmUpRounds final : public RoundSchedule {
 public:
  WarmUpRounds(std::int64_t iterations, RoundPolicy policy) : iterations_(iterations), policy_(policy) {}
  std::string_view name() const override { return "warm-up"; }
  RoundPolicy next(std::int64_t iteration) const override {
    return iteration < iterations_ ? RoundPolicy{.max_steps = 1} : policy_;
  }

 private:
  std::int64_t iterations_;
  RoundPolicy policy_;
};

class AdaptiveTau final : public RoundSchedule {
 public:
  explicit AdaptiveTau(const AdaptiveTauOptions& options) : options_(options), tau_(options.initial) {}
  std::string_view name() const override { return "adaptive"; }
  bool needs_drift() const override { return true; }
  RoundPolicy next(std::int64_t) const override { return {.max_steps = tau_}; }

  void after(const RoundStats& stats) override {
    // A round that was cut short by the end of training says nothing about tau.
    if (stats.rate <= 0 || stats.max_steps != tau_) return;
    const double now = stats.drift / stats.rate;
    if (rounds_ < options_.sampling_rounds) {
      measure_ += (now - measure_) / static_cast<double>(++rounds_);
      return;
    }
    if (now < options_.low * measure_) tau_ = std::min(tau_ + 1, options_.most);
    if (now > options_.high * measure_) tau_ = std::max(tau_ - 1, options_.least);
  }

  std::vector<double> state() const override {
    return {static_cast<double>(tau_), static_cast<double>(rounds_), measure_};
  }
  void set_state(std::span<const double> state) override {
    if (!(state[0] >= 1 && state[0] < 0x1p53 && state[1] >= 0 && state[1] < 0x1p53))
      throw Error(fmt::format("adaptive_tau: nobody makes {} steps after {} rounds", state[0], state[1]));
    tau_ = static_cast<std::int64_t>(state[0]);
    rounds_ = static_cast<std::int64_t>(state[1]);
    measure_ = state[2];
  }

 private:
  AdaptiveTauOptions options_;
  std::int64_t tau_, rounds_ = 0;
  double measure_ = 0;
};

}  // namespace

RoundReport run_round(Solver& solver, const RoundPolicy& policy) {
  require_limit(policy);
  const Clock::time_point begin = Clock::now();
  const std::int64_t examples = solver.examples_per_step();
  RoundReport report;
  do {
    report.loss_sum += solver.step();
    ++report.steps;
    report.examples += examples;
    report.time = Clock::now() - begin;
  } while ((policy.max_steps <= 0 || report.steps < policy.max_steps) &&
           (policy.max_examples <= 0 || report.examples < policy.max_examples) &&
           (policy.max_time.count() <= 0 || report.time < policy.max_time));
  return report;
}

void RoundSchedule::after(const RoundStats&) {}

void RoundSchedule::set_state(std::span<const double>) {}

std::unique_ptr<RoundSchedule> constant_rounds(RoundPolicy policy) {
  require_limit(policy);
  return std::make_unique<ConstantRounds>(policy);
}

std::unique_ptr<RoundSchedule> warm_up_rounds(std::int64_t iterations, RoundPolicy policy) {
  require_limit(policy);
  return std::make_unique<WarmUpRounds>(iterations, policy);
}

std::unique_ptr<RoundSchedule> adaptive_tau(const AdaptiveTauOptions& options) {
  if (options.least < 1 || options.initial < options.least || options.most < options.initial)
    throw Error(fmt::format(
        "adaptive_tau: it needs 1 <= least <= initial <= most, and they are {}, {} and {}",
        options.least,
        options.initial,
        options.most));
  if (options.sampling_rounds < 1 || !(options.low > 0) || !(options.high > options.low))
    throw Error("adaptive_tau: it needs a sampling round and 0 < low < high");
  return std::make_unique<AdaptiveTau>(options);
}

}  // namespace sparknet
