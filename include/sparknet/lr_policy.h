#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace sparknet {

/// Caffe's learning-rate policies; each gives the rate of an iteration, counted from 0.
namespace lr_policy {

/// base_lr
struct Fixed {
  bool operator==(const Fixed&) const = default;
};
/// base_lr * gamma ^ floor(iteration / stepsize)
struct Step {
  double gamma;
  std::int64_t stepsize;
  bool operator==(const Step&) const = default;
};
/// base_lr * gamma ^ iteration
struct Exp {
  double gamma;
  bool operator==(const Exp&) const = default;
};
/// base_lr * (1 + gamma * iteration) ^ -power
struct Inv {
  double gamma;
  double power;
  bool operator==(const Inv&) const = default;
};
/// base_lr * gamma ^ (how many of `stepvalue` have been reached)
struct MultiStep {
  double gamma;
  std::vector<std::int64_t> stepvalue;
  bool operator==(const MultiStep&) const = default;
};
/// base_lr * (1 - iteration / max_iter) ^ power
struct Poly {
  double power;
  bool operator==(const Poly&) const = default;
};
/// base_lr / (1 + exp(-gamma * (iteration - stepsize)))
struct Sigmoid {
  double gamma;
  std::int64_t stepsize;
  bool operator==(const Sigmoid&) const = default;
};

}  // namespace lr_policy

using LrPolicy = std::variant<
    lr_policy::Fixed, lr_policy::Step, lr_policy::Exp, lr_policy::Inv, lr_policy::MultiStep, lr_policy::Poly,
    lr_policy::Sigmoid>;

/// The rate of an iteration. Throws Error for a policy whose numbers make no sense.
double learning_rate(const LrPolicy& policy, double base_lr, std::int64_t iteration, std::int64_t max_iter);

}  // namespace sparknet
