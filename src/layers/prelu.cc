#include "sparknet/layers/prelu.h"

#include "src/layers/channels.h"
#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningPReLU final : public Layer {
 public:
  explicit RunningPReLU(const PReLUOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const Shape slope = operand_shape(1, options_.channel_shared ? 0 : 1, in);
    setup.param("slope", slope, options_.filler, options_.lr_mult, options_.decay_mult);
    plan_ = setup.backend().channels(setup.dtype(), channels_of(1, in, slope, setup.nhwc()));
    setup.scratch(plan_->scratch_bytes());
    setup.recomputes();
    setup.backward_reads(true, false);
    if (setup.phase() == Phase::Test) setup.in_place();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override { plan_->prelu(io.bottom().raw(), io.param(0).raw(), io.top().raw()); }

  void backward(LayerIO& io) override {
    kernels::ChannelGradients args = {};
    args.x = io.bottom().raw();
    args.factor = io.param(0).raw();
    args.dy = io.top_diff().raw();
    args.dx = io.bottom_diff().raw();
    args.dfactor = io.param_diff(0).raw();
    args.accumulate_factor = io.accumulate();
    plan_->prelu_backward(args, io.scratch());
  }

 private:
  PReLUOptions options_;
  std::unique_ptr<kernels::Channels> plan_;
};

}  // namespace

Shape PReLULayer::infer(std::span<const Shape> in) const {
  require(in[0].size() >= 2, "expects a batch [N, C, ...], which has 2 or more dimensions, not {}", in[0].size());
  return in[0];
}

std::unique_ptr<Layer> PReLULayer::make() const {
  return std::make_unique<RunningPReLU>(options);
}

}  // namespace sparknet
