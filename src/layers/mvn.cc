#include "sparknet/layers/mvn.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningMVN final : public Layer {
 public:
  explicit RunningMVN(const MVNOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const std::size_t first = options_.across_channels ? 1 : 2;
    kernels::LayerNormShape shape{in.count(0, first), in.count(first)};
    shape.divisor = options_.normalize_variance ? kernels::NormDivisor::Deviation : kernels::NormDivisor::One;
    shape.eps = options_.eps;
    plan_ = setup.backend().layer_norm(setup.dtype(), shape);
    setup.state(plan_->state_bytes());
    setup.backward_reads(false, options_.normalize_variance);
    setup.in_place();
  }

  void forward(LayerIO& io) override {
    plan_->forward(io.bottom().raw(), nullptr, nullptr, io.top().raw(), io.state());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    kernels::LayerNormGradients args = {};
    args.operand = io.top().raw();
    args.dy = io.top_diff().raw();
    args.dx = io.bottom_diff().raw();
    plan_->backward(args, io.state(), nullptr);
  }

 private:
  MVNOptions options_;
  std::unique_ptr<kernels::LayerNorm> plan_;
};

}  // namespace

Shape MVNLayer::infer(std::span<const Shape> in) const {
  require_eps(options.eps);
  return in[0];
}

std::unique_ptr<Layer> MVNLayer::make() const {
  return std::make_unique<RunningMVN>(options);
}

}  // namespace sparknet
