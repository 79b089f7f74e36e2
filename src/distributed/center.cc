#include "src/distributed/center.h"

#include <fmt/format.h>

#include <algorithm>

#include "sparknet/error.h"
#include "src/distributed/measures.h"

namespace sparknet::detail {

double weight_of(Weighting weighting, const RoundReport& report) {
  switch (weighting) {
    case Weighting::Uniform: break;
    case Weighting::Examples: return static_cast<double>(report.examples);
    case Weighting::Steps: return static_cast<double>(report.steps);
  }
  return 1;
}

Center::Center(const AveragingOptions& options, const std::vector<ParamInfo>& layout, const Tensor& weights)
    : outer_(options.outer ? options.outer() : plain_average()),
      schedule_(options.schedule ? options.schedule() : constant_rounds(options.round)) {
  outer_->begin(weights);
  for (const ParamInfo& info : layout)
    if (info.lr_mult == 0) unlearned_.emplace_back(info.offset, info.offset + info.shape.count());
  if (outer_->needs_start() || needs_drift()) start_ = weights.copy();
}

void Center::set_start(const Tensor& weights) {
  if (start_.defined()) start_.copy_from(weights);
}

void Center::advance(Tensor& mean, RoundStats& stats) {
  if (needs_drift()) stats.drift = std::max(0.0, stats.drift - squared_distance(mean, start_));
  const auto part = [&](std::pair<Dim, Dim> range) { return mean.subarray(Shape(range.first), Shape(range.second)); };
  std::vector<Tensor> kept;
  if (outer_->needs_start())
    for (const auto& range : unlearned_) kept.push_back(part(range).copy());
  outer_->step(start_, mean, stats.rate);
  for (std::size_t i = 0; i < kept.size(); ++i) part(unlearned_[i]).copy_from(kept[i]);
  set_start(mean);
  schedule_->after(stats);
  ++round_;
}

std::vector<double> Center::numbers() const {
  std::vector<double> numbers = schedule_->state();
  numbers.push_back(static_cast<double>(round_));
  return numbers;
}

void Center::set_numbers(std::vector<double> numbers) {
  const double round = numbers.back();
  if (!(round >= 0 && round < 0x1p53)) throw Error(fmt::format("there is no round {}", round));
  numbers.pop_back();
  schedule_->set_state(numbers);
  round_ = static_cast<std::int64_t>(round);
}

}  // namespace sparknet::detail
