#include "sparknet/update_rule.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/kernels.h"
#include "sparknet/error.h"

namespace sparknet {
namespace {

using kernels::UpdateKind;
using kernels::UpdatePass;

/// A rule of the backend's. `numbers` are what is the same in every step.
class Rule : public UpdateRule {
 public:
  Rule(std::string_view name, int slots, const UpdatePass& numbers) : name_(name), slots_(slots), numbers_(numbers) {}
  std::string_view name() const override { return name_; }
  int slots() const override { return slots_; }

  void update(const UpdateArgs& args) const override {
    Tensor weights = args.weights, history = args.slots[0];
    UpdatePass pass = numbers_;
    pass.count = weights.count();
    pass.weights = weights.raw();
    pass.gradient = args.gradient.raw();
    pass.history = history.raw();
    if (slots_ > 1) {
      Tensor second = args.slots[1];
      pass.history2 = second.raw();
    }
    pass.rate = args.rate;
    pass.decay = args.decay;
    pass.gradient_scale = args.gradient_scale;
    pass.gradient_factor = args.gradient_factor;
    pass.veto = args.veto;
    pass.l1 = args.l1;
    adapt(pass, args.iteration);
    args.backend.update(weights.dtype(), pass);
  }

 private:
  /// Changes what is not the same in every step.
  virtual void adapt(UpdatePass&, std::int64_t) const {}

  std::string_view name_;
  int slots_;
  UpdatePass numbers_;
};

enum class Decay : std::uint8_t { InGradient, BesideGradient };

class Adam final : public Rule {
 public:
  Adam(std::string_view name, const AdamOptions& options, Decay decay)
      : Rule(
            name, 2,
            {.kind = UpdateKind::Adam,
             .momentum = options.beta1,
             .gain = 1 - options.beta1,
             .momentum2 = options.beta2,
             .gain2 = 1 - options.beta2,
             .delta = options.epsilon}),
        decay_(decay) {}

 private:
  void adapt(UpdatePass& pass, std::int64_t iteration) const override {
    const auto t = static_cast<double>(iteration + 1);
    const double root = std::sqrt(1 - std::pow(pass.momentum2, t));
    if (decay_ == Decay::BesideGradient) {
      pass.shrink = pass.rate * pass.decay;
      pass.decay = 0;
      pass.delta *= root;
    }
    pass.rate *= root / (1 - std::pow(pass.momentum, t));
  }

  Decay decay_;
};

void check_share(const char* who, const char* what, double value) {
  if (!(value >= 0 && value < 1))
    throw Error(fmt::format("{}: {} is {}; it is at least 0 and less than 1", who, what, value));
}

/// What keeps a weight without a gradient from being divided by 0.
void check_delta(const char* who, const char* what, double value) {
  if (!std::isfinite(value) || value <= 0)
    throw Error(fmt::format("{}: {} is {}; it is a finite number above 0", who, what, value));
}

void check(const char* who, const AdamOptions& options) {
  check_share(who, "beta1", options.beta1);
  check_share(who, "beta2", options.beta2);
  check_delta(who, "epsilon", options.epsilon);
}

}  // namespace

std::shared_ptr<const UpdateRule> sgd(double momentum) {
  check_share("sgd", "momentum", momentum);
  return std::make_shared<Rule>("sgd", 1, UpdatePass{.kind = UpdateKind::Sgd, .momentum = momentum});
}

std::shared_ptr<const UpdateRule> nesterov(double momentum) {
  check_share("nesterov", "momentum", momentum);
  return std::make_shared<Rule>("nesterov", 1, UpdatePass{.kind = UpdateKind::Nesterov, .momentum = momentum});
}

std::shared_ptr<const UpdateRule> adagrad(double delta) {
  check_delta("adagrad", "delta", delta);
  return std::make_shared<Rule>(
      "adagrad",
      1,
      UpdatePass{.kind = UpdateKind::RmsProp, .momentum = 1, .gain = 1, .delta = delta});
}

std::shared_ptr<const UpdateRule> rmsprop(const RmsPropOptions& options) {
  check_share("rmsprop", "rms_decay", options.rms_decay);
  check_delta("rmsprop", "delta", options.delta);
  return std::make_shared<Rule>(
      "rmsprop",
      1,
      UpdatePass{
          .kind = UpdateKind::RmsProp,
          .momentum = options.rms_decay,
          .gain = 1 - options.rms_decay,
          .delta = options.delta});
}

std::shared_ptr<const UpdateRule> adadelta(const AdaDeltaOptions& options) {
  check_share("adadelta", "momentum", options.momentum);
  check_delta("adadelta", "delta", options.delta);
  return std::make_shared<Rule>(
      "adadelta",
      2,
      UpdatePass{
          .kind = UpdateKind::AdaDelta,
          .momentum = options.momentum,
          .gain = 1 - options.momentum,
          .delta = options.delta});
}

std::shared_ptr<const UpdateRule> adam(const AdamOptions& options) {
  check("adam", options);
  return std::make_shared<Adam>("adam", options, Decay::InGradient);
}

std::shared_ptr<const UpdateRule> adamw(const AdamOptions& options) {
  check("adamw", options);
  return std::make_shared<Adam>("adamw", options, Decay::BesideGradient);
}

}  // namespace sparknet
