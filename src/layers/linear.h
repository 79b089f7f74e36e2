#pragma once

// The running layer that convolution and inner product are: weights, a bias, and a ReLU where one follows.

#include <memory>

#include "kernels/kernels.h"
#include "sparknet/net_param.h"

namespace sparknet {

template <class Options>
class RunningLinear : public Layer {
 public:
  explicit RunningLinear(const Options& options) : options_(options) {}

  bool fuse(const FusedReLU& relu) override {
    activation_ = {true, relu.negative_slope};
    return true;
  }

  void forward(LayerIO& io) override {
    plan_->forward(
        io.bottom().raw(),
        io.param(0).raw(),
        options_.bias ? io.param(1).raw() : nullptr,
        io.top().raw(),
        io.scratch());
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

  /// The end of `setup`.
  void declare(LayerSetup& setup, const Shape& weights, std::unique_ptr<kernels::Linear> plan) {
    setup.param("weights", weights, options_.weight_filler, options_.lr_mult.weights, options_.decay_mult.weights);
    if (options_.bias)
      setup.param("bias", {options_.num_output}, options_.bias_filler, options_.lr_mult.bias, options_.decay_mult.bias);
    setup.backward_reads(options_.lr_mult.weights != 0, activation_.relu);
    plan_ = std::move(plan);
    setup.scratch(plan_->scratch_bytes());
  }

 private:
  Options options_;
  kernels::Activation activation_;
  std::unique_ptr<kernels::Linear> plan_;
};

}  // namespace sparknet
