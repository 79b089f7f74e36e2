#include "sparknet/lr_policy.h"

#include <algorithm>
#include <cmath>

#include "sparknet/error.h"

namespace sparknet {
namespace {

struct Rate {
  double base_lr, iteration, max_iter;

  double operator()(const lr_policy::Fixed&) const { return base_lr; }
  double operator()(const lr_policy::Step& p) const {
    if (p.stepsize <= 0)
      throw Error("lr_policy::Step: stepsize is " + std::to_string(p.stepsize) + "; it must be above 0");
    return base_lr * std::pow(p.gamma, std::floor(iteration / static_cast<double>(p.stepsize)));
  }
  double operator()(const lr_policy::Exp& p) const { return base_lr * std::pow(p.gamma, iteration); }
  double operator()(const lr_policy::Inv& p) const { return base_lr * std::pow(1 + p.gamma * iteration, -p.power); }
  double operator()(const lr_policy::MultiStep& p) const {
    if (!std::is_sorted(p.stepvalue.begin(), p.stepvalue.end()))
      throw Error("lr_policy::MultiStep: stepvalue must be in rising order");
    const auto reached = std::count_if(p.stepvalue.begin(), p.stepvalue.end(), [&](std::int64_t v) {
      return iteration >= static_cast<double>(v);
    });
    return base_lr * std::pow(p.gamma, static_cast<double>(reached));
  }
  double operator()(const lr_policy::Poly& p) const {
    if (max_iter <= 0) throw Error("lr_policy::Poly: max_iter of the solver must be above 0");
    return base_lr * std::pow(std::max(0.0, 1 - iteration / max_iter), p.power);
  }
  double operator()(const lr_policy::Sigmoid& p) const {
    return base_lr / (1 + std::exp(-p.gamma * (iteration - static_cast<double>(p.stepsize))));
  }
};

}  // namespace

double learning_rate(const LrPolicy& policy, double base_lr, std::int64_t iteration, std::int64_t max_iter) {
  return std::visit(Rate{base_lr, static_cast<double>(iteration), static_cast<double>(max_iter)}, policy);
}

}  // namespace sparknet
