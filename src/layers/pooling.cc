#include "sparknet/layers/pooling.h"

#include "src/layers/common.h"
#include "src/layers/pooling.h"

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
        .pad_w = options_.pad.w,
        .nhwc = setup.nhwc()};
    plan_ = setup.backend().pooling(setup.dtype(), shape, method_of(options_.pooling));
    tells_places_ = setup.top().size() == 2;
    if (setup.phase() == Phase::Train || tells_places_) setup.state(plan_->mask_bytes());
    setup.backward_reads(false, false);
  }

  May may_be_bf16(std::size_t, std::size_t tops) const override {
    return tops == 1 ? May::WhereInputsAre : May::Never;  // places are no numbers of BF16
  }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    const void* const x = io.bottom().raw();
    if (io.phase() == Phase::Train)
      plan_->forward_random(x, io.top().raw(), io.state(), {io.seed(), io.sequence()});
    else
      plan_->forward(x, io.top().raw(), tells_places_ ? io.state() : nullptr);
    if (tells_places_) plan_->places(io.state(), io.top(1).raw());
  }

  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) plan_->backward(io.top_diff().raw(), io.state(), io.bottom_diff().raw());
  }

 private:
  PoolingOptions options_;
  std::unique_ptr<kernels::Pooling> plan_;
  bool tells_places_ = false;
};

Dim windows(const PoolingOptions& o, Dim size, Dim kernel, Dim stride, Dim pad) {
  const Dim room = size + 2 * pad - kernel;
  const Dim count = (o.round_mode == RoundMode::Ceil ? room + stride - 1 : room) / stride + 1;
  return (count - 1) * stride >= size + pad ? count - 1 : count;
}

}  // namespace

std::string to_text(Pooling value) {
  switch (value) {
    case Pooling::Max: return "Pooling::Max";
    case Pooling::Ave: return "Pooling::Ave";
    case Pooling::Stochastic: return "Pooling::Stochastic";
  }
  return {};
}

std::string to_text(RoundMode value) {
  return value == RoundMode::Ceil ? "RoundMode::Ceil" : "RoundMode::Floor";
}

std::vector<Shape> PoolingLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  const PoolingOptions& o = options;
  const std::size_t most = o.pooling == Pooling::Max ? 2 : 1;
  require(
      tops >= 1 && tops <= most,
      "{} has {}, not {}",
      to_text(o.pooling),
      most == 2 ? "one top or two" : "one top",
      tops);
  if (o.global) {
    require(
        o.kernel == Size2(0) && o.stride == Size2(1) && o.pad == Size2(0),
        "with .global the window is the whole image: leave .kernel, .stride and .pad out");
    require_image(in[0]);
    return std::vector<Shape>(tops, {in[0][0], in[0][1], 1, 1});
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
  require(
      o.pooling != Pooling::Stochastic || o.pad == Size2(0),
      "stochastic pooling takes no padding: option .pad is {}x{}",
      o.pad.h,
      o.pad.w);
  require_image(in[0]);
  require_fit(o.kernel, o.kernel, o.pad, in[0]);
  const Shape top{
      in[0][0],
      in[0][1],
      windows(o, in[0][2], o.kernel.h, o.stride.h, o.pad.h),
      windows(o, in[0][3], o.kernel.w, o.stride.w, o.pad.w)};
  return std::vector<Shape>(tops, top);
}

std::unique_ptr<Layer> PoolingLayer::make() const {
  return std::make_unique<RunningPooling>(options);
}

}  // namespace sparknet
