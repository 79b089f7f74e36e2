#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "sparknet/tensor.h"

namespace sparknet {

/// How the weights of a round's end follow from those of its start and the mean of what the workers made of them. Every
/// worker has an equal one and feeds it the same numbers, so all stay equal. An object, so that a user's own joins. It
/// acts on what is learned: parameters whose lr_mult is 0 take the mean.
class OuterOptimizer {
 public:
  virtual ~OuterOptimizer() = default;
  /// A name for snapshots: resuming with another is an error.
  virtual std::string_view name() const = 0;
  /// Makes its memory for weights of this shape and type, before the first step.
  virtual void begin(const Tensor& weights);
  /// Writes the next weights over `mean`. `start` holds those the round began with; it is undefined where
  /// needs_start() is false. Both are dense and of one dimension. `rate` is the solvers' learning rate.
  virtual void step(const Tensor& start, Tensor& mean, double rate) = 0;
  virtual bool needs_start() const { return true; }
  /// How far each worker goes from its own weights to those the round began with; 1: all take the next weights.
  virtual double pull(int workers) const;
  /// Its memory, as handles that can be written through: for snapshots and newcomers. Always as many.
  virtual std::vector<Tensor> state() const { return {}; }
};

/// The mean itself: SparkNet, FedAvg with equal weights.
std::unique_ptr<OuterOptimizer> plain_average();

struct OuterSgdOptions {
  double lr = 1;
  double momentum = 0;
  bool nesterov = false;
};

/// SGD on the pseudo-gradient g = start - mean:  v = momentum * v + g;  x = start - lr * (nesterov ? g + momentum * v :
/// v). BMUF (Chen and Huo 2016) is momentum eta and lr zeta, with Nesterov's step where it is theirs.
std::unique_ptr<OuterOptimizer> outer_sgd(const OuterSgdOptions& options);
/// outer_sgd with lr 0.7, momentum 0.9 and Nesterov's step. Douillard et al. 2023.
std::unique_ptr<OuterOptimizer> diloco();

struct SlowMoOptions {
  double lr = 1;
  double momentum = 0.5;
};
/// Momentum in units of the learning rate:  u = momentum * u + g / rate;  x = start - lr * rate * u. Wang et al. 2020.
/// While the rate is constant it is outer_sgd.
std::unique_ptr<OuterOptimizer> slowmo(const SlowMoOptions& options = {});

struct ElasticAverageOptions {
  double beta = 0.9;
};
/// Workers keep weights of their own and are drawn to a common centre c by alpha = beta / workers:  x_i -= alpha * (x_i
/// - c);  c += beta * (mean - c), both with the old c. Zhang, Choromanska, LeCun 2015.
std::unique_ptr<OuterOptimizer> elastic_average(const ElasticAverageOptions& options = {});

}  // namespace sparknet
