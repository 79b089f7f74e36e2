#include "sparknet/layers/scale.h"

#include <algorithm>

#include "src/layers/channels.h"
#include "src/layers/common.h"
#include "src/layers/folding.h"

namespace sparknet {
namespace {

class RunningScale final : public Layer {
 public:
  explicit RunningScale(const ScaleOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape scale = operand_shape(options_.axis, options_.num_axes, setup.bottom());
    learned_ = setup.bottom().size() == 1;
    if (learned_) setup.param("scale", scale, options_.filler, options_.lr_mult.weights, options_.decay_mult.weights);
    if (options_.bias)
      setup.param("bias", scale, options_.bias_filler, options_.lr_mult.bias, options_.decay_mult.bias);
    plan_ = setup.backend().channels(setup.dtype(), channels_of(options_.axis, setup.bottom()[0], scale, setup.nhwc()));
    setup.scratch(plan_->scratch_bytes());
    setup.recomputes();
    setup.backward_reads(true, false);
    if (setup.phase() == Phase::Test) setup.in_place();
  }

  May may_be_bf16(std::size_t bottoms, std::size_t) const override {
    return bottoms == 1 ? May::WhereInputsAre : May::Never;  // parameters are F32
  }
  May may_be_nhwc(std::size_t bottoms, std::size_t) const override {
    return bottoms == 1 && is_of_channels() ? May::WhereInputsAre : May::Never;
  }

  void forward(LayerIO& io) override {
    const void* const bias = options_.bias ? io.param(bias_param()).raw() : nullptr;
    plan_->affine(io.bottom().raw(), scale(io).raw(), bias, io.top().raw());
  }

  void backward(LayerIO& io) override {
    kernels::ChannelGradients args = {};
    args.x = io.bottom().raw();
    args.factor = scale(io).raw();
    args.dy = io.top_diff().raw();
    args.dx = io.bottom_diff().raw();
    args.dfactor = (learned_ ? io.param_diff(0) : io.bottom_diff(1)).raw();
    args.dbias = options_.bias ? io.param_diff(bias_param()).raw() : nullptr;
    args.accumulate_factor = learned_ && io.accumulate();
    args.accumulate_bias = io.accumulate();
    plan_->affine_backward(args, io.scratch());
  }

  std::optional<FusedScale> as_scale() const override {
    if (!is_of_channels()) return {};
    return FusedScale{options_.bias};
  }

  std::optional<FusedAffine> as_affine(Phase) const override {
    if (!as_scale()) return {};
    const auto read =
        [bias = options_.bias](std::span<const Tensor> params, std::span<double> scale, std::span<double> shift) {
          read_numbers(params[0], scale);
          if (bias)
            read_numbers(params[1], shift);
          else
            std::ranges::fill(shift, 0.0);
        };
    return FusedAffine{options_.bias ? 2U : 1U, read};
  }

 private:
  bool is_of_channels() const { return options_.axis == 1 && options_.num_axes == 1; }
  const Tensor& scale(const LayerIO& io) const { return learned_ ? io.param(0) : io.bottom(1); }
  std::size_t bias_param() const { return learned_ ? 1 : 0; }

  ScaleOptions options_;
  bool learned_ = true;
  std::unique_ptr<kernels::Channels> plan_;
};

}  // namespace

Shape ScaleLayer::infer(std::span<const Shape> in) const {
  operand_shape(options.axis, options.num_axes, in);
  return in[0];
}

std::unique_ptr<Layer> ScaleLayer::make() const {
  return std::make_unique<RunningScale>(options);
}

}  // namespace sparknet
