#include "sparknet/layers/deconvolution_nd.h"

#include "src/layers/common.h"
#include "src/layers/linear.h"
#include "src/layers/windows.h"

namespace sparknet {
namespace {

class RunningDeconvolutionNd final : public RunningLinear<ConvolutionNdOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const ConvolutionNdOptions& o = options();
    const Dim channels = setup.bottom()[0][axis_of(o.axis, setup.bottom()[0])];
    // The convolution that takes the top to the bottom.
    const kernels::ConvolutionNdShape shape{window_of(o, setup.top()[0]), channels, o.group};
    const Shape weights = weights_of(shape.window, channels, o.num_output / o.group);
    declare(
        setup,
        weights,
        {o.group, channels / o.group, weights.count(2)},
        setup.backend().deconvolution_nd(setup.dtype(), shape, activation()));
  }

 private:
  bool has_channels(const Shape& top) const override { return axis_of(options().axis, top) == 1; }
};

}  // namespace

Shape DeconvolutionNdLayer::infer(std::span<const Shape> in) const {
  const ConvolutionNdOptions& o = options;
  require_num_output(o.num_output);
  require(o.group > 0, "option .group must be positive, not {}", o.group);
  const kernels::WindowShape w = window_of(o, in[0]);
  require_group(o.group, w.channels, o.num_output);
  std::vector<Dim> sizes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(w.axes); ++i) {
    sizes.push_back(deconvolved(w.size[i], w.stride[i], extent_of(w.kernel[i], w.dilation[i])) - 2 * w.pad[i]);
    require(
        sizes[i] > 0,
        "pad {} leaves nothing of its output along spatial axis {}: it would be {} long",
        w.pad[i],
        i,
        sizes[i]);
  }
  return with_windows(in[0], o.axis, o.num_output, sizes);
}

std::unique_ptr<Layer> DeconvolutionNdLayer::make() const {
  return std::make_unique<RunningDeconvolutionNd>(options);
}

}  // namespace sparknet
