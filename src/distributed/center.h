#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "sparknet/distributed/averaging_options.h"
#include "sparknet/weights.h"

namespace sparknet::detail {

double weight_of(Weighting weighting, const RoundReport& report);

/// What workers agree on between rounds, the weights apart: each worker has an equal one, and so has a master.
class Center {
 public:
  Center(const AveragingOptions& options, const std::vector<ParamInfo>& layout, const Tensor& weights);

  RoundPolicy next(std::int64_t iteration) const { return schedule_->next(iteration); }
  bool needs_drift() const { return schedule_->needs_drift(); }
  const OuterOptimizer& outer() const { return *outer_; }
  const RoundSchedule& schedule() const { return *schedule_; }
  std::int64_t round() const { return round_; }
  /// The weights the round begins with; undefined where nobody needs them.
  const Tensor& start() const { return start_; }
  /// Where the parameters with a multiplier of 0 lie in the arena: elements [first, second).
  const std::vector<std::pair<Dim, Dim>>& unlearned() const { return unlearned_; }
  void set_start(const Tensor& weights);

  /// Makes the next weights of the mean. `stats.drift` is the weighted mean of |x_i - start|^2 where it is needed, and
  /// becomes the drift.
  void advance(Tensor& mean, RoundStats& stats);

  /// What a newcomer or a snapshot needs beside start(): the outer optimizer's memory, and the round and the
  /// schedule's state as numbers.
  std::vector<Tensor> tensors() const { return outer_->state(); }
  std::vector<double> numbers() const;
  /// Throws Error for what can be none.
  void set_numbers(std::vector<double> numbers);

 private:
  std::unique_ptr<OuterOptimizer> outer_;
  std::unique_ptr<RoundSchedule> schedule_;
  std::vector<std::pair<Dim, Dim>> unlearned_;
  Tensor start_;
  std::int64_t round_ = 0;
};

}  // namespace sparknet::detail
