#include "sparknet/layers/deconvolution.h"

#include "sparknet/layers/deconvolution_nd.h"
#include "src/layers/common.h"
#include "src/layers/linear.h"
#include "src/layers/windows.h"

namespace sparknet {
namespace {

class RunningDeconvolution final : public RunningLinear<ConvolutionOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const ConvolutionOptions& o = options();
    const Dim channels = setup.bottom()[0][1];
    if (const auto nd = over_all_axes(o, setup.bottom()[0])) {
      const kernels::WindowShape w = window_of(*nd, setup.top()[0]);
      const Shape weights = weights_of(w, channels, o.num_output / o.group);
      declare(
          setup,
          weights,
          {o.group, channels / o.group, weights.count(2)},
          setup.backend().deconvolution_nd(setup.dtype(), {w, channels, o.group}, activation()));
      return;
    }
    kernels::ConvolutionShape shape = convolution_shape(o, setup.top()[0], channels);
    shape.nhwc = setup.nhwc();
    declare(
        setup,
        {channels, o.num_output / o.group, o.kernel.h, o.kernel.w},
        {o.group, channels / o.group, o.kernel.h * o.kernel.w},
        setup.backend().deconvolution(setup.dtype(), shape, activation()));
  }

  May may_be_nhwc(std::size_t, std::size_t) const override { return May::Always; }

 private:
  bool has_channels(const Shape&) const override { return true; }
};

}  // namespace

Shape DeconvolutionLayer::infer(std::span<const Shape> in) const {
  const ConvolutionOptions& o = options;
  if (auto nd = over_all_axes(o, in[0])) return DeconvolutionNdLayer{"", {""}, std::move(*nd)}.infer(in);
  require_convolution(o, in[0]);
  const Size2 span = extent(o);
  const Dim h = deconvolved(in[0][2], o.stride.h, span.h) - 2 * o.pad.h;
  const Dim w = deconvolved(in[0][3], o.stride.w, span.w) - 2 * o.pad.w;
  require(h > 0 && w > 0, "pad {}x{} leaves nothing of its output: it would be {}x{}", o.pad.h, o.pad.w, h, w);
  return {in[0][0], o.num_output, h, w};
}

std::unique_ptr<Layer> DeconvolutionLayer::make() const {
  return std::make_unique<RunningDeconvolution>(options);
}

}  // namespace sparknet
