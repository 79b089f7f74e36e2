#include "sparknet/distributed/outer_optimizer.h"

#include <fmt/format.h>

#include <cmath>

#include "sparknet/error.h"

namespace sparknet {
namespace {

class PlainAverage final : public OuterOptimizer {
 public:
  std::string_view name() const override { return "average"; }
  void step(const Tensor&, Tensor&, double) override {}
  bool needs_start() const override { return false; }
};

class OuterSgd final : public OuterOptimizer {
 public:
  explicit OuterSgd(const OuterSgdOptions& options) : options_(options) {}

  std::string_view name() const override { return "outer sgd"; }
  void begin(const Tensor& weights) override { velocity_ = Tensor(weights.shape(), weights.dtype()); }
  std::vector<Tensor> state() const override { return {velocity_}; }

  void step(const Tensor& start, Tensor& mean, double) override {
    dispatch(mean.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = start.span<T>();
      const auto next = mean.span<T>(), v = velocity_.span<T>();
      for (std::size_t i = 0; i < next.size(); ++i) {
        const double g = static_cast<double>(x[i]) - static_cast<double>(next[i]);
        const double velocity = options_.momentum * static_cast<double>(v[i]) + g;
        v[i] = static_cast<T>(velocity);
        const double direction = options_.nesterov ? g + options_.momentum * velocity : velocity;
        next[i] = static_cast<T>(static_cast<double>(x[i]) - options_.lr * direction);
      }
    });
  }

 private:
  OuterSgdOptions options_;
  Tensor velocity_;
};

class SlowMo final : public OuterOptimizer {
 public:
  explicit SlowMo(const SlowMoOptions& options) : options_(options) {}

  std::string_view name() const override { return "slowmo"; }
  void begin(const Tensor& weights) override { momentum_ = Tensor(weights.shape(), weights.dtype()); }
  std::vector<Tensor> state() const override { return {momentum_}; }

  void step(const Tensor& start, Tensor& mean, double rate) override {
    // Without a rate nobody has moved, and g is 0.
    const double per_rate = rate > 0 ? 1 / rate : 0;
    dispatch(mean.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = start.span<T>();
      const auto next = mean.span<T>(), u = momentum_.span<T>();
      for (std::size_t i = 0; i < next.size(); ++i) {
        const double g = static_cast<double>(x[i]) - static_cast<double>(next[i]);
        const double momentum = options_.momentum * static_cast<double>(u[i]) + g * per_rate;
        u[i] = static_cast<T>(momentum);
        next[i] = static_cast<T>(static_cast<double>(x[i]) - options_.lr * rate * momentum);
      }
    });
  }

 private:
  SlowMoOptions options_;
  Tensor momentum_;
};

class ElasticAverage final : public OuterOptimizer {
 public:
  explicit ElasticAverage(const ElasticAverageOptions& options) : options_(options) {}

  std::string_view name() const override { return "elastic average"; }
  double pull(int workers) const override { return options_.beta / workers; }

  void step(const Tensor& start, Tensor& mean, double) override {
    dispatch(mean.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto centre = start.span<T>();
      const auto next = mean.span<T>();
      for (std::size_t i = 0; i < next.size(); ++i) {
        const double c = static_cast<double>(centre[i]);
        next[i] = static_cast<T>(c + options_.beta * (static_cast<double>(next[i]) - c));
      }
    });
  }

 private:
  ElasticAverageOptions options_;
};

void check(const char* who, double lr, double momentum) {
  if (!std::isfinite(lr) || lr <= 0) throw Error(fmt::format("{}: lr is {}; it is a finite number above 0", who, lr));
  if (!(momentum >= 0 && momentum < 1))
    throw Error(fmt::format("{}: momentum is {}; it is at least 0 and less than 1", who, momentum));
}

}  // namespace

void OuterOptimizer::begin(const Tensor&) {}

double OuterOptimizer::pull(int) const {
  return 1;
}

std::unique_ptr<OuterOptimizer> plain_average() {
  return std::make_unique<PlainAverage>();
}

std::unique_ptr<OuterOptimizer> outer_sgd(const OuterSgdOptions& options) {
  check("outer_sgd", options.lr, options.momentum);
  return std::make_unique<OuterSgd>(options);
}

std::unique_ptr<OuterOptimizer> diloco() {
  return outer_sgd({.lr = 0.7, .momentum = 0.9, .nesterov = true});
}

std::unique_ptr<OuterOptimizer> slowmo(const SlowMoOptions& options) {
  check("slowmo", options.lr, options.momentum);
  return std::make_unique<SlowMo>(options);
}

std::unique_ptr<OuterOptimizer> elastic_average(const ElasticAverageOptions& options) {
  if (!(options.beta > 0 && options.beta <= 1))
    throw Error(fmt::format("elastic_average: beta is {}; it is above 0 and at most 1", options.beta));
  return std::make_unique<ElasticAverage>(options);
}

}  // namespace sparknet
