#include "sparknet/layers/convolution.h"

#include "src/layers/common.h"
#include "src/layers/linear.h"

namespace sparknet {
namespace {

class RunningConvolution final : public RunningLinear<ConvolutionOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const ConvolutionOptions& o = options();
    const Shape& in = setup.bottom()[0];
    const kernels::ConvolutionShape shape{
        .batch = in[0],
        .channels = in[1],
        .height = in[2],
        .width = in[3],
        .num_output = o.num_output,
        .kernel_h = o.kernel.h,
        .kernel_w = o.kernel.w,
        .stride_h = o.stride.h,
        .stride_w = o.stride.w,
        .pad_h = o.pad.h,
        .pad_w = o.pad.w,
        .dilation_h = o.dilation.h,
        .dilation_w = o.dilation.w,
        .group = o.group};
    declare(
        setup,
        {o.num_output, in[1] / o.group, o.kernel.h, o.kernel.w},
        setup.backend().convolution(setup.dtype(), shape, activation()));
  }
};

/// What a dilated kernel spans.
Size2 extent(const ConvolutionOptions& o) {
  return {o.dilation.h * (o.kernel.h - 1) + 1, o.dilation.w * (o.kernel.w - 1) + 1};
}

}  // namespace

Shape ConvolutionLayer::infer(std::span<const Shape> in) const {
  const ConvolutionOptions& o = options;
  require_kernel(o.kernel);
  require_num_output(o.num_output);
  require_steps(o.stride, o.pad);
  require(
      o.dilation.h > 0 && o.dilation.w > 0,
      "option .dilation must be positive, not {}x{}",
      o.dilation.h,
      o.dilation.w);
  require(o.group > 0, "option .group must be positive, not {}", o.group);
  require_image(in[0]);
  require(in[0][1] % o.group == 0, "group {} does not divide the {} channels of its input", o.group, in[0][1]);
  require(o.num_output % o.group == 0, "group {} does not divide num_output {}", o.group, o.num_output);
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
