#include "sparknet/layers/convolution.h"

#include "src/layers/common.h"
#include "src/layers/linear.h"
#include "src/layers/windows.h"

namespace sparknet {
namespace {

class RunningConvolution final : public RunningLinear<ConvolutionOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const ConvolutionOptions& o = options();
    const Shape& in = setup.bottom()[0];
    if (const auto nd = over_all_axes(o, in)) {
      const kernels::WindowShape w = window_of(*nd, in);
      const Shape weights = weights_of(w, o.num_output, w.channels / o.group);
      declare(
          setup,
          weights,
          {1, 1, weights.count(1)},
          setup.backend().convolution_nd(setup.dtype(), {w, o.num_output, o.group}, activation()));
      return;
    }
    const Shape weights{o.num_output, in[1] / o.group, o.kernel.h, o.kernel.w};
    kernels::ConvolutionShape shape = convolution_shape(o, in, o.num_output);
    shape.nhwc = setup.nhwc();
    std::unique_ptr<kernels::PreparedLinear> prepared;
    if (setup.frozen()) prepared = setup.backend().prepared_convolution(setup.dtype(), shape, activation());
    auto plan = prepared ? nullptr : setup.backend().convolution(setup.dtype(), shape, activation());
    declare(setup, weights, {1, 1, weights.count(1)}, std::move(plan), std::move(prepared));
  }

  May may_be_nhwc(std::size_t, std::size_t) const override { return May::Always; }

 private:
  bool has_channels(const Shape&) const override { return true; }
};

}  // namespace

kernels::ConvolutionShape convolution_shape(const ConvolutionOptions& o, const Shape& image, Dim num_output) {
  return {
      .batch = image[0],
      .channels = image[1],
      .height = image[2],
      .width = image[3],
      .num_output = num_output,
      .kernel_h = o.kernel.h,
      .kernel_w = o.kernel.w,
      .stride_h = o.stride.h,
      .stride_w = o.stride.w,
      .pad_h = o.pad.h,
      .pad_w = o.pad.w,
      .dilation_h = o.dilation.h,
      .dilation_w = o.dilation.w,
      .group = o.group};
}

void require_convolution(const ConvolutionOptions& o, const Shape& in) {
  require_kernel(o.kernel);
  require_num_output(o.num_output);
  require_steps(o.stride, o.pad);
  require(
      o.dilation.h > 0 && o.dilation.w > 0,
      "option .dilation must be positive, not {}x{}",
      o.dilation.h,
      o.dilation.w);
  require(o.group > 0, "option .group must be positive, not {}", o.group);
  require_image(in);
  require_group(o.group, in[1], o.num_output);
}

std::optional<ConvolutionNdOptions> over_all_axes(const ConvolutionOptions& o, const Shape& in) {
  if (in.size() < 3 || in.size() == 4) return {};
  for (const Size2& size : {o.kernel, o.stride, o.pad, o.dilation})
    if (size.h != size.w) return {};
  return ConvolutionNdOptions{
      .kernel = {o.kernel.h},
      .num_output = o.num_output,
      .stride = {o.stride.h},
      .pad = {o.pad.h},
      .dilation = {o.dilation.h},
      .group = o.group};
}

Size2 extent(const ConvolutionOptions& o) {
  return {extent_of(o.kernel.h, o.dilation.h), extent_of(o.kernel.w, o.dilation.w)};
}

Shape ConvolutionLayer::infer(std::span<const Shape> in) const {
  const ConvolutionOptions& o = options;
  if (auto nd = over_all_axes(o, in[0])) return ConvolutionNdLayer{"", {""}, std::move(*nd)}.infer(in);
  require_convolution(o, in[0]);
  const Size2 span = extent(o);
  require_fit(o.kernel, span, o.pad, in[0]);
  return {
      in[0][0],
      o.num_output,
      (in[0][2] + 2 * o.pad.h - span.h) / o.stride.h + 1,
      (in[0][3] + 2 * o.pad.w - span.w) / o.stride.w + 1};
}

std::unique_ptr<Layer> ConvolutionLayer::make() const {
  return std::make_unique<RunningConvolution>(options);
}

}  // namespace sparknet
