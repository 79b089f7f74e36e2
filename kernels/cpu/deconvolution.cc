#include <algorithm>

#include "kernels/cpu/output_gradient.h"

namespace sparknet::kernels::cpu {
namespace {

/// A convolution that runs backward, and its bias.
template <class T>
class Deconvolution final : public Linear {
 public:
  Deconvolution(
      Engine& engine, std::unique_ptr<Linear> convolution, Index batch, Index channels, Index pixels,
      Activation activation)
      : engine_(engine),
        convolution_(std::move(convolution)),
        batch_(batch),
        channels_(channels),
        pixels_(pixels),
        activation_(activation) {
    sums_at_ = layout_.add(batch * channels);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(layout_.size()) * sizeof(T) + convolution_->scratch_bytes();
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    BackwardArgs args{};
    args.weights = weights;
    args.dy = const_cast<void*>(x);  // written to by plans with an activation alone
    args.dx = y;
    convolution_->backward(args, rest(scratch));
    if (!bias && !activation_.relu) return;
    const HotTable<T>& hot = table<T>(engine_);
    for_planes([&](Index plane) {
      T* const to = static_cast<T*>(y) + plane * pixels_;
      if (bias) hot.affine(pixels_, T(1), static_cast<const T*>(bias)[plane % channels_], to, to);
      if (activation_.relu) hot.relu(pixels_, static_cast<T>(activation_.negative_slope), to, to);
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    mask_and_sum(engine_, batch_, channels_, pixels_, activation_, args, static_cast<T*>(scratch) + sums_at_);
    if (args.dx) convolution_->forward(args.dy, args.weights, nullptr, args.dx, rest(scratch));
    if (args.dweights) {
      BackwardArgs of_weights{};
      of_weights.x = args.dy;
      of_weights.weights = args.weights;
      of_weights.dy = const_cast<void*>(args.x);
      of_weights.dweights = args.dweights;
      of_weights.accumulate = args.accumulate;
      convolution_->backward(of_weights, rest(scratch));
    }
  }

 private:
  template <class F>
  void for_planes(F&& f) {
    for_ranges(engine_.team, batch_ * channels_, 1, 1 + kWorthWaking / pixels_, [&](Index begin, Index end) {
      for (Index plane = begin; plane < end; ++plane) f(plane);
    });
  }
  void* rest(void* scratch) const { return static_cast<T*>(scratch) + layout_.size(); }

  Engine& engine_;
  std::unique_ptr<Linear> convolution_;
  Index batch_, channels_, pixels_;
  Activation activation_;
  Layout<T> layout_;
  Index sums_at_ = 0;
};

std::unique_ptr<Linear> make(
    Engine& engine, DType dtype, std::unique_ptr<Linear> convolution, Index batch, Index channels, Index pixels,
    Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<Deconvolution<decltype(zero)>>(
        engine,
        std::move(convolution),
        batch,
        channels,
        pixels,
        activation);
  });
}

}  // namespace

std::unique_ptr<Linear> make_deconvolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  auto convolution = make_convolution(engine, dtype, shape, Activation{});
  return make(
      engine,
      dtype,
      std::move(convolution),
      shape.batch,
      shape.channels,
      shape.height * shape.width,
      activation);
}

std::unique_ptr<Linear> make_deconvolution_nd(
    Engine& engine, DType dtype, const ConvolutionNdShape& shape, Activation activation) {
  const WindowShape& window = shape.window;
  auto convolution = make_convolution_nd(engine, dtype, shape, Activation{});
  return make(engine, dtype, std::move(convolution), window.batch, window.channels, window.pixels(), activation);
}

}  // namespace sparknet::kernels::cpu
