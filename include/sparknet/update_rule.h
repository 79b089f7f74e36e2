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
  // Where the weights are not on the host, what only their device knows of the gradient; null there and on the host: 1
  // and -1.
  /// A part of the factor of gradient_scale.
  const double* gradient_factor = nullptr;
  /// Nothing is to be updated where this is not -1.
  const std::int64_t* veto = nullptr;
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

// Caffe's rules, and AdamW. In the formulas g is the gradient after scaling and with decay * w, or decay * sign(w) for
// L1, added to it; every rule but AdamW decays like that. Squares, roots and quotients are of single elements. A rule
// throws Error where it is given numbers that make no sense; those left out are SolverParameter's defaults where it has
// any.

/// v = momentum * v + rate * g;  w -= v: Caffe's SGD, with the rate inside the history.
std::shared_ptr<const UpdateRule> sgd(double momentum = 0);

/// v' = momentum * v + rate * g;  w -= (1 + momentum) * v' - momentum * v: the weights are kept where the next gradient
/// is wanted, a look ahead of Nesterov's own. Sutskever et al. 2013, Caffe's Nesterov.
std::shared_ptr<const UpdateRule> nesterov(double momentum);

/// h += g^2;  w -= rate * g / (sqrt(h) + delta). Duchi, Hazan, Singer 2011, Caffe's AdaGrad.
std::shared_ptr<const UpdateRule> adagrad(double delta = 1e-8);

struct RmsPropOptions {
  double rms_decay = 0.99;
  double delta = 1e-8;
};
/// h = rms_decay * h + (1 - rms_decay) * g^2;  w -= rate * g / (sqrt(h) + delta). Tieleman and Hinton 2012, Caffe's
/// RMSProp.
std::shared_ptr<const UpdateRule> rmsprop(const RmsPropOptions& options = {});

struct AdaDeltaOptions {
  /// The share of the old in the means: the paper's rho.
  double momentum = 0.95;
  double delta = 1e-8;
};
/// h = momentum * h + (1 - momentum) * g^2;  u = g * sqrt((h2 + delta) / (h + delta));
/// h2 = momentum * h2 + (1 - momentum) * u^2;  w -= rate * u, where the paper's rate is 1. Zeiler 2012, Caffe's
/// AdaDelta.
std::shared_ptr<const UpdateRule> adadelta(const AdaDeltaOptions& options = {});

struct AdamOptions {
  /// Caffe's momentum.
  double beta1 = 0.9;
  /// Caffe's momentum2.
  double beta2 = 0.999;
  /// Caffe's delta.
  double epsilon = 1e-8;
};
/// m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g^2;
/// w -= rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon) with t = iteration + 1: epsilon is the
/// paper's epsilon-hat, outside of the correction. t goes on where a history is reset, so that the first steps after it
/// are several times too long. Kingma and Ba 2015, Caffe's Adam.
std::shared_ptr<const UpdateRule> adam(const AdamOptions& options = {});

/// Adam with the decay beside the gradient and not in it; g is without it:
/// w -= rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + rate * decay * w, or sign(w) for L1. The decay
/// is multiplied by the whole rate, base_lr by the policy and lr_mult, as PyTorch does; the paper's is multiplied by
/// the policy alone and is this one times base_lr. Epsilon is inside of the correction. Loshchilov and Hutter 2019.
std::shared_ptr<const UpdateRule> adamw(const AdamOptions& options = {});

}  // namespace sparknet
