#include "sparknet/layers/bias.h"

#include <algorithm>

#include "src/layers/channels.h"
#include "src/layers/common.h"
#include "src/layers/folding.h"

namespace sparknet {
namespace {

class RunningBias final : public Layer {
 public:
  explicit RunningBias(const BiasOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape bias = operand_shape(options_.axis, options_.num_axes, setup.bottom());
    learned_ = setup.bottom().size() == 1;
    if (learned_) setup.param("bias", bias, options_.filler, options_.lr_mult, options_.decay_mult);
    plan_ = setup.backend().channels(setup.dtype(), channels_of(options_.axis, setup.bottom()[0], bias, setup.nhwc()));
    setup.scratch(plan_->scratch_bytes());
    setup.recomputes();
    setup.backward_reads(false, false);
    setup.in_place();
  }

  May may_be_bf16(std::size_t bottoms, std::size_t) const override {
    return bottoms == 1 ? May::WhereInputsAre : May::Never;  // parameters are F32
  }
  May may_be_nhwc(std::size_t bottoms, std::size_t) const override {
    return bottoms == 1 && is_of_channels() ? May::WhereInputsAre : May::Never;
  }

  void forward(LayerIO& io) override {
    const Tensor& bias = learned_ ? io.param(0) : io.bottom(1);
    plan_->affine(io.bottom().raw(), nullptr, bias.raw(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    Tensor &dx = io.bottom_diff(), &dbias = learned_ ? io.param_diff(0) : io.bottom_diff(1);
    kernels::ChannelGradients args = {};
    args.dy = io.top_diff().raw();
    args.dx = dx.raw() == args.dy ? nullptr : dx.raw();
    args.dbias = dbias.raw();
    args.accumulate_bias = learned_ && io.accumulate();
    if (args.dx || args.dbias) plan_->affine_backward(args, io.scratch());
  }

  std::optional<FusedAffine> as_affine(Phase) const override {
    if (!is_of_channels()) return {};
    const auto read = [](std::span<const Tensor> params, std::span<double> scale, std::span<double> shift) {
      std::ranges::fill(scale, 1.0);
      read_numbers(params[0], shift);
    };
    return FusedAffine{1, read};
  }

 private:
  bool is_of_channels() const { return options_.axis == 1 && options_.num_axes == 1; }

  BiasOptions options_;
  bool learned_ = true;
  std::unique_ptr<kernels::Channels> plan_;
};

}  // namespace

Shape BiasLayer::infer(std::span<const Shape> in) const {
  operand_shape(options.axis, options.num_axes, in);
  return in[0];
}

std::unique_ptr<Layer> BiasLayer::make() const {
  return std::make_unique<RunningBias>(options);
}

}  // namespace sparknet
