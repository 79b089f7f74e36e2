#include "sparknet/layers/pooling.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningPooling final : public Layer {
 public:
  explicit RunningPooling(const PoolingOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape &in = setup.bottom()[0], &out = setup.top()[0];
    const Size2 kernel = options_.global ? Size2(in[2], in[3]) : options_.kernel;
    const kernels::PoolingShape shape{
        .batch = in[0],
        .channels = in[1],
        .height = in[2],
        .width = in[3],
        .out_h = out[2],
        .out_w = out[3],
        .kernel_h = kernel.h,
        .kernel_w = kernel.w,
        .stride_h = options_.stride.h,
        .stride_w = options_.stride.w,
        .pad_h = options_.pad.h,
        .pad_w = options_.pad.w};
    const auto method = options_.pooling == Pooling::Max ? kernels::PoolMethod::Max : kernels::PoolMethod::Average;
    plan_ = setup.backend().pooling(setup.dtype(), shape, method);
    if (setup.phase() == Phase::Train) setup.state(plan_->mask_bytes());
    setup.backward_reads(false, false);
  }

  void forward(LayerIO& io) override {
    plan_->forward(io.bottom().raw(), io.top().raw(), io.phase() == Phase::Train ? io.state() : nullptr);
  }

  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) plan_->backward(io.top_diff().raw(), io.state(), io.bottom_diff().raw());
  }

 private:
  PoolingOptions options_;
  std::unique_ptr<kernels::Pooling> plan_;
};

Dim windows(const PoolingOptions& o, Dim size, Dim kernel, Dim stride, Dim pad) {
  const Dim room = size + 2 * pad - kernel;
  const Dim count = (o.round_mode == RoundMode::Ceil ? room + stride - 1 : room) / stride + 1;
  return (count - 1) * stride >= size + pad ? count - 1 : count;
}

}  // namespace

std::string to_text(Pooling value) {
  return value == Pooling::Max ? "Pooling::Max" : "Pooling::Ave";
}

std::string to_text(RoundMode value) {
  return value == RoundMode::Ceil ? "RoundMode::Ceil" : "RoundMode::Floor";
}

Shape PoolingLayer::infer(std::span<const Shape> in) const {
  const PoolingOptions& o = options;
  if (o.global) {
    require(
        o.kernel == Size2(0) && o.stride == Size2(1) && o.pad == Size2(0),
        "with .global the window is the whole image: leave .kernel, .stride and .pad out");
    require_image(in[0]);
    return {in[0][0], in[0][1], 1, 1};
  }
  require_kernel(o.kernel);
  require_steps(o.stride, o.pad);
  require(
      o.pad.h < o.kernel.h && o.pad.w < o.kernel.w,
      "pad {}x{} must be smaller than kernel {}x{}",
      o.pad.h,
      o.pad.w,
      o.kernel.h,
      o.kernel.w);
  require_image(in[0]);
  require_fit(o.kernel, o.kernel, o.pad, in[0]);
  return {
      in[0][0],
      in[0][1],
      windows(o, in[0][2], o.kernel.h, o.stride.h, o.pad.h),
      windows(o, in[0][3], o.kernel.w, o.stride.w, o.pad.w)};
}

std::unique_ptr<Layer> PoolingLayer::make() const {
  return std::make_unique<RunningPooling>(options);
}

}  // namespace sparknet
