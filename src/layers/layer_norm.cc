#include "sparknet/layers/layer_norm.h"

#include "src/layers/channels.h"
#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningLayerNorm final : public Layer {
 public:
  explicit RunningLayerNorm(const LayerNormOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const Shape normalized = operand_shape(options_.axis, -1, in);
    kernels::LayerNormShape shape{in.count(0, in.size() - normalized.size()), normalized.count()};
    shape.eps = options_.eps;
    shape.affine = options_.affine;
    if (options_.affine) {
      setup.param("gamma", normalized, Filler::constant(1), options_.lr_mult.weights, options_.decay_mult.weights);
      setup.param("beta", normalized, Filler::constant(0), options_.lr_mult.bias, options_.decay_mult.bias);
    }
    plan_ = setup.backend().layer_norm(setup.dtype(), shape);
    setup.state(plan_->state_bytes());
    setup.scratch(plan_->scratch_bytes());
    // A gamma may be 0, and then the top does not tell.
    setup.backward_reads(options_.affine, !options_.affine);
    if (!options_.affine || setup.phase() == Phase::Test) setup.in_place();
  }

  void forward(LayerIO& io) override {
    const void* const gamma = options_.affine ? io.param(0).raw() : nullptr;
    const void* const beta = options_.affine ? io.param(1).raw() : nullptr;
    plan_->forward(io.bottom().raw(), gamma, beta, io.top().raw(), io.state());
  }

  void backward(LayerIO& io) override {
    kernels::LayerNormGradients args = {};
    args.operand = options_.affine ? io.bottom().raw() : io.top().raw();
    args.dy = io.top_diff().raw();
    args.dx = io.bottom_diff().raw();
    if (options_.affine) {
      args.gamma = io.param(0).raw();
      args.dgamma = io.param_diff(0).raw();
      args.dbeta = io.param_diff(1).raw();
      args.accumulate = io.accumulate();
    }
    plan_->backward(args, io.state(), io.scratch());
  }

 private:
  LayerNormOptions options_;
  std::unique_ptr<kernels::LayerNorm> plan_;
};

}  // namespace

Shape LayerNormLayer::infer(std::span<const Shape> in) const {
  require_eps(options.eps);
  axis_of(options.axis, in[0]);
  return in[0];
}

std::unique_ptr<Layer> LayerNormLayer::make() const {
  return std::make_unique<RunningLayerNorm>(options);
}

}  // namespace sparknet
