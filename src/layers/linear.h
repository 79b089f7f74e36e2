#pragma once

// The running layer that convolution and inner product are: weights, a bias, and a ReLU where one follows.

#include <memory>
#include <utility>

#include "kernels/kernels.h"
#include "sparknet/net_param.h"
#include "src/layers/folding.h"
#include "src/to_host.h"

namespace sparknet {

template <class Options>
class RunningLinear : public Layer {
 public:
  explicit RunningLinear(const Options& options) : options_(options) {}

  May may_be_bf16(std::size_t, std::size_t) const override { return May::Always; }

  bool fuse(const FusedReLU& relu) override {
    activation_ = {true, relu.negative_slope};
    return true;
  }

  bool fuse_affine(const FusedAffine& affine, const Shape& top) override {
    if (activation_.relu || !has_channels(top)) return false;
    folding_.add(affine);
    return true;
  }

  void prepare(LayerIO& io) override {
    Tensor weights = to_host(io.backend(), io.param(0));
    if (!folding_.empty()) {
      Folding::Result folded = folding_.fold(io, options_.bias, options_.num_output, outputs_);
      io.backend().write(io.prepared(), folded.bias.raw(), folded.bias.bytes());
      weights = std::move(folded.weights);
    }
    std::byte* const to = io.prepared() + bias_bytes_;
    if (prepared_plan_)
      prepared_plan_->prepare(weights.raw(), to, io.scratch());
    else
      io.backend().write(to, weights.raw(), weights.bytes());
  }

  void forward(LayerIO& io) override {
    const void* const bias = !folding_.empty() ? io.prepared() : options_.bias ? io.param(1).raw() : nullptr;
    const void* const weights = io.prepared() ? io.prepared() + bias_bytes_ : io.param(0).raw();
    if (prepared_plan_)
      prepared_plan_->forward(io.bottom().raw(), weights, bias, io.top().raw(), io.scratch());
    else
      plan_->forward(io.bottom().raw(), weights, bias, io.top().raw(), io.scratch());
  }

  void backward(LayerIO& io) override {
    kernels::BackwardArgs args;
    args.x = io.bottom().raw();
    args.weights = io.param(0).raw();
    args.y = io.top().raw();
    args.dy = io.top_diff().raw();
    args.dx = io.bottom_diff().raw();
    args.dweights = io.param_diff(0).raw();
    args.dbias = options_.bias ? io.param_diff(1).raw() : nullptr;
    args.accumulate = io.accumulate();
    plan_->backward(args, io.scratch());
  }

 protected:
  const Options& options() const { return options_; }
  const kernels::Activation& activation() const { return activation_; }

  /// Whether axis 1 of the top is that of the outputs.
  virtual bool has_channels(const Shape& top) const = 0;

  /// The end of `setup`. One of the plans is null.
  void declare(
      LayerSetup& setup, const Shape& weights, OutputPlaces outputs, std::unique_ptr<kernels::Linear> plan,
      std::unique_ptr<kernels::PreparedLinear> prepared_plan = nullptr) {
    setup.param("weights", weights, options_.weight_filler, options_.lr_mult.weights, options_.decay_mult.weights);
    if (options_.bias)
      setup.param("bias", {options_.num_output}, options_.bias_filler, options_.lr_mult.bias, options_.decay_mult.bias);
    setup.backward_reads(options_.lr_mult.weights != 0, activation_.relu);
    plan_ = std::move(plan);
    prepared_plan_ = std::move(prepared_plan);
    setup.scratch(prepared_plan_ ? prepared_plan_->scratch_bytes() : plan_->scratch_bytes());
    outputs_ = outputs;
    if (!folding_.empty()) {
      bias_bytes_ = (static_cast<std::size_t>(options_.num_output) * size_of(setup.param_dtype()) + 63) / 64 * 64;
    }
    if (prepared_plan_)
      setup.prepares(bias_bytes_ + prepared_plan_->prepared_bytes());
    else if (!folding_.empty())
      setup.prepares(bias_bytes_ + static_cast<std::size_t>(weights.count()) * size_of(setup.param_dtype()));
  }

 private:
  Options options_;
  kernels::Activation activation_;
  Folding folding_;
  OutputPlaces outputs_ = {};
  /// Of the bias in what is prepared, on a cache line; 0 where it is the layer's own.
  std::size_t bias_bytes_ = 0;
  std::unique_ptr<kernels::Linear> plan_;
  std::unique_ptr<kernels::PreparedLinear> prepared_plan_;
};

}  // namespace sparknet
