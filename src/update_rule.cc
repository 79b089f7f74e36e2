#include "sparknet/update_rule.h"

#include "kernels/kernels.h"

namespace sparknet {
namespace {

class Sgd final : public UpdateRule {
 public:
  explicit Sgd(double momentum) : momentum_(momentum) {}
  std::string_view name() const override { return "sgd"; }
  int slots() const override { return 1; }
  void update(const UpdateArgs& args) const override {
    Tensor weights = args.weights, history = args.slots[0];
    args.backend.sgd_update(
        weights.dtype(),
        {.count = weights.count(),
         .weights = weights.raw(),
         .gradient = args.gradient.raw(),
         .history = history.raw(),
         .rate = args.rate,
         .momentum = momentum_,
         .decay = args.decay,
         .gradient_scale = args.gradient_scale,
         .l1 = args.l1});
  }

 private:
  double momentum_;
};

}  // namespace

std::shared_ptr<const UpdateRule> sgd(double momentum) {
  return std::make_shared<Sgd>(momentum);
}

}  // namespace sparknet
