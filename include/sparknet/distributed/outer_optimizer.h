#pragma once

#include <memory>
#include <string_view>

#include "sparknet/tensor.h"

namespace sparknet {

/// How the weights of a round's end follow from those of its start and the mean of what the workers made of them. Every
/// worker has an equal one and feeds it the same numbers, so all stay equal. An object, so that a user's own joins.
class OuterOptimizer {
 public:
  virtual ~OuterOptimizer() = default;
  virtual std::string_view name() const = 0;
  /// Writes the next weights over `mean`. `start` holds those the round began with; it is undefined where
  /// needs_start() is false. Both are dense and of one dimension.
  virtual void step(const Tensor& start, Tensor& mean) = 0;
  virtual bool needs_start() const { return true; }
};

/// The mean itself: SparkNet, FedAvg with equal weights.
std::unique_ptr<OuterOptimizer> plain_average();

struct OuterSgdOptions {
  double lr = 1;
  double momentum = 0;
  bool nesterov = false;
};

/// SGD on the pseudo-gradient g = start - mean:  v = momentum * v + g;  x = start - lr * (nesterov ? g + momentum * v :
/// v). lr 0.7, momentum 0.9, nesterov: DiLoCo (Douillard et al. 2023). momentum eta, lr zeta: BMUF (Chen and Huo 2016).
std::unique_ptr<OuterOptimizer> outer_sgd(const OuterSgdOptions& options);

}  // namespace sparknet
