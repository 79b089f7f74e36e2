#include "sparknet/layers/batch_norm.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningBatchNorm final : public Layer {
 public:
  explicit RunningBatchNorm(const BatchNormOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const bool flat = in.size() == 1;
    const kernels::ChannelShape shape{in[0], flat ? 1 : in[1], flat ? 1 : in.count(2)};
    // No layer learns them: they take part in snapshots and averages, and have no gradient.
    setup.param("mean", {shape.channels}, Filler::constant(0), 0, 0);
    setup.param("variance", {shape.channels}, Filler::constant(0), 0, 0);
    setup.param("factor", {1}, Filler::constant(0), 0, 0);
    by_running_ = options_.use_global_stats.value_or(setup.phase() == Phase::Test);
    plan_ = setup.backend().batch_norm(setup.dtype(), shape, options_.eps);
    setup.state(plan_->state_bytes());
    setup.backward_reads(false, !by_running_);
    setup.in_place();
  }

  void forward(LayerIO& io) override {
    const kernels::RunningMoments running{io.params[0].raw(), io.params[1].raw(), io.params[2].raw()};
    if (by_running_)
      plan_->forward_by_running(io.bottom().raw(), running, io.top().raw(), io.state());
    else
      plan_->forward(io.bottom().raw(), options_.moving_average_fraction, running, io.top().raw(), io.state());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    if (by_running_)
      plan_->backward_by_running(io.state(), io.top_diff().raw(), io.bottom_diff().raw());
    else
      plan_->backward(io.top().raw(), io.state(), io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  BatchNormOptions options_;
  bool by_running_ = false;
  std::unique_ptr<kernels::BatchNorm> plan_;
};

}  // namespace

Shape BatchNormLayer::infer(std::span<const Shape> in) const {
  const double fraction = options.moving_average_fraction;
  require(fraction >= 0 && fraction <= 1, "option .moving_average_fraction must be from 0 to 1, not {}", fraction);
  require_eps(options.eps);
  require(!in[0].empty(), "expects a batch [N, C, ...], not one number");
  return in[0];
}

std::unique_ptr<Layer> BatchNormLayer::make() const {
  return std::make_unique<RunningBatchNorm>(options);
}

}  // namespace sparknet
