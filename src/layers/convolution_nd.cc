#include "sparknet/layers/convolution_nd.h"

#include "src/layers/common.h"
#include "src/layers/linear.h"
#include "src/layers/windows.h"

namespace sparknet {
namespace {

class RunningConvolutionNd final : public RunningLinear<ConvolutionNdOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const ConvolutionNdOptions& o = options();
    const kernels::ConvolutionNdShape shape{window_of(o, setup.bottom()[0]), o.num_output, o.group};
    const Shape weights = weights_of(shape.window, o.num_output, shape.window.channels / o.group);
    declare(
        setup,
        weights,
        {1, 1, weights.count(1)},
        setup.backend().convolution_nd(setup.dtype(), shape, activation()));
  }

 private:
  bool has_channels(const Shape& top) const override { return axis_of(options().axis, top) == 1; }
};

}  // namespace

Shape ConvolutionNdLayer::infer(std::span<const Shape> in) const {
  require_num_output(options.num_output);
  require(options.group > 0, "option .group must be positive, not {}", options.group);
  const kernels::WindowShape w = window_of(options, in[0]);
  require_group(options.group, w.channels, options.num_output);
  require_fit(w);
  return with_windows(in[0], options.axis, options.num_output, windows_of(w));
}

std::unique_ptr<Layer> ConvolutionNdLayer::make() const {
  return std::make_unique<RunningConvolutionNd>(options);
}

}  // namespace sparknet
