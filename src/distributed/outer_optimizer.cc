#include "sparknet/distributed/outer_optimizer.h"

#include <cmath>
#include <string>

#include "sparknet/error.h"

namespace sparknet {
namespace {

class PlainAverage final : public OuterOptimizer {
 public:
  std::string_view name() const override { return "average"; }
  void step(const Tensor&, Tensor&) override {}
  bool needs_start() const override { return false; }
};

class OuterSgd final : public OuterOptimizer {
 public:
  explicit OuterSgd(const OuterSgdOptions& options) : options_(options) {}

  std::string_view name() const override { return "outer sgd"; }

  void step(const Tensor& start, Tensor& mean) override {
    if (!velocity_.defined()) velocity_ = Tensor(mean.shape(), mean.dtype());
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

}  // namespace

std::unique_ptr<OuterOptimizer> plain_average() {
  return std::make_unique<PlainAverage>();
}

std::unique_ptr<OuterOptimizer> outer_sgd(const OuterSgdOptions& options) {
  if (!std::isfinite(options.lr) || options.lr <= 0)
    throw Error("outer_sgd: lr is " + std::to_string(options.lr) + "; it is a finite number above 0");
  if (!(options.momentum >= 0 && options.momentum < 1))
    throw Error("outer_sgd: momentum is " + std::to_string(options.momentum) + "; it is at least 0 and less than 1");
  return std::make_unique<OuterSgd>(options);
}

}  // namespace sparknet
