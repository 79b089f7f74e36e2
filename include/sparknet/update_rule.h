#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "sparknet/tensor.h"

namespace sparknet {

namespace kernels {
class Backend;
}

/// One piece of the parameter arena whose parameters learn alike, and what an update rule needs to know of this step.
struct UpdateArgs {
  kernels::Backend& backend;
  /// Dense tensors of one dimension and the net's dtype. The gradient is of the sum over iter_size passes.
  Tensor weights, gradient;
  /// The rule's own memory, zero before the first step: slots() tensors like `weights`.
  std::span<const Tensor> slots;
  /// base_lr by the policy, times lr_mult; weight_decay times decay_mult.
  double rate, decay;
  /// What the gradient is multiplied by first: 1 / iter_size and the clipping factor.
  double gradient_scale;
  /// The decay is that of L1 (the sign of the weight) and not of L2 (the weight).
  bool l1;
  /// Counted from 0.
  std::int64_t iteration;
};

/// How a solver turns gradients into new weights; an object, so that a user's own joins without touching the solver.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  /// A name for snapshots: resuming with another rule is an error.
  virtual std::string_view name() const = 0;
  /// How many numbers the rule remembers for each weight.
  virtual int slots() const = 0;
  /// Updates one piece, in one pass. Allocates nothing.
  virtual void update(const UpdateArgs& args) const = 0;
};

/// v = momentum * v + rate * (g + decay * w);  w -= v: Caffe's SGD, with the rate inside the history.
std::shared_ptr<const UpdateRule> sgd(double momentum = 0);

}  // namespace sparknet
