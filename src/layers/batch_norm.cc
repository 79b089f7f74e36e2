#include "sparknet/layers/batch_norm.h"

#include <cmath>

#include "src/layers/channels.h"
#include "src/layers/common.h"
#include "src/layers/folding.h"

namespace sparknet {
namespace {

class RunningBatchNorm final : public Layer {
 public:
  explicit RunningBatchNorm(const BatchNormOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const kernels::ChannelShape shape = channels_of(setup.bottom()[0], setup.nhwc());
    // No layer learns them: they take part in snapshots and averages, and have no gradient.
    setup.param("mean", {shape.channels}, Filler::constant(0), 0, 0);
    setup.param("variance", {shape.channels}, Filler::constant(0), 0, 0);
    setup.param("factor", {1}, Filler::constant(0), 0, 0);
    by_running_ = is_by_running(setup.phase());
    if (scale_) {
      const kernels::Activation activation{relu_.has_value(), relu_ ? relu_->negative_slope : 0};
      scaled_plan_ = setup.backend().scaled_batch_norm(setup.dtype(), shape, options_.eps, activation);
      setup.state(scaled_plan_->state_bytes());
      setup.scratch(scaled_plan_->scratch_bytes());
      setup.backward_reads(true, relu_.has_value());
      setup.recomputes();
      if (setup.phase() == Phase::Test) setup.in_place();
      return;
    }
    plan_ = setup.backend().batch_norm(setup.dtype(), shape, options_.eps);
    setup.state(plan_->state_bytes());
    setup.backward_reads(false, !by_running_);
    setup.in_place();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    const kernels::RunningMoments running{io.params[0].raw(), io.params[1].raw(), io.params[2].raw()};
    const void* const x = io.bottom().raw();
    void* const y = io.top().raw();
    const double fade = options_.moving_average_fraction;
    if (scale_) {
      const void *const scale = io.param(kOwnParams).raw(), *const bias = bias_of(io.params);
      if (by_running_)
        scaled_plan_->forward_by_running(x, running, scale, bias, y, io.state());
      else
        scaled_plan_->forward(x, fade, running, scale, bias, y, io.state());
    } else if (by_running_) {
      plan_->forward_by_running(x, running, y, io.state());
    } else {
      plan_->forward(x, fade, running, y, io.state());
    }
  }

  void backward(LayerIO& io) override {
    const void* const dy = io.top_diff().raw();
    void* const dx = io.bottom_diff().raw();
    if (scale_) {
      const kernels::ScaledBatchNormGradients args{
          io.bottom().raw(),
          io.top().raw(),
          io.param(kOwnParams).raw(),
          dy,
          dx,
          io.param_diffs[kOwnParams].raw(),
          bias_of(io.param_diffs),
          io.accumulate()};
      if (by_running_)
        scaled_plan_->backward_by_running(args, io.state(), io.scratch());
      else
        scaled_plan_->backward(args, io.state(), io.scratch());
    } else if (!dx) {
      return;
    } else if (by_running_) {
      plan_->backward_by_running(io.state(), dy, dx);
    } else {
      plan_->backward(io.top().raw(), io.state(), dy, dx);
    }
  }

  void recompute(LayerIO& io) override {
    scaled_plan_
        ->recompute(io.bottom().raw(), io.param(kOwnParams).raw(), bias_of(io.params), io.top().raw(), io.state());
  }

  std::optional<FusedAffine> as_affine(Phase phase) const override {
    if (!is_by_running(phase)) return {};
    const auto read =
        [eps = options_.eps](std::span<const Tensor> params, std::span<double> scale, std::span<double> shift) {
          double factor = 0;
          read_numbers(params[0], shift);
          read_numbers(params[1], scale);
          read_numbers(params[2], {&factor, 1});
          const double share = factor == 0 ? 0 : 1 / factor;
          for (std::size_t c = 0; c < scale.size(); ++c) {
            scale[c] = 1 / std::sqrt(share * scale[c] + eps);
            shift[c] *= -share * scale[c];
          }
        };
    return FusedAffine{kOwnParams, read};
  }
  bool fuse_scale(const FusedScale& scale, const Shape& bottom, kernels::Backend& backend) override {
    if (!backend.scales_batch_norm(channels_of(bottom, false))) return false;
    scale_ = scale;
    return true;
  }
  bool fuse(const FusedReLU& relu) override {
    if (!scale_) return false;
    relu_ = relu;
    return true;
  }

 private:
  /// Behind its own parameters lie those of a scale that was taken over.
  static constexpr std::size_t kOwnParams = 3;

  bool is_by_running(Phase phase) const { return options_.use_global_stats.value_or(phase == Phase::Test); }
  /// Of the parameters, or of their gradients.
  void* bias_of(std::vector<Tensor>& params) const { return scale_->has_bias ? params[kOwnParams + 1].raw() : nullptr; }

  BatchNormOptions options_;
  bool by_running_ = false;
  std::optional<FusedScale> scale_;
  std::optional<FusedReLU> relu_;
  std::unique_ptr<kernels::BatchNorm> plan_;
  std::unique_ptr<kernels::ScaledBatchNorm> scaled_plan_;
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
