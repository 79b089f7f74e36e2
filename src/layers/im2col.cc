#include "sparknet/layers/im2col.h"

#include "src/layers/common.h"
#include "src/layers/windows.h"

namespace sparknet {
namespace {

class RunningIm2col final : public Layer {
 public:
  explicit RunningIm2col(const Im2colOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    window_ = window_of(options_, setup.bottom()[0]);
    setup.backward_reads(false, false);
  }

  void forward(LayerIO& io) override { io.backend().im2col(io.dtype(), window_, io.bottom().raw(), io.top().raw()); }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    io.backend().col2im(io.dtype(), window_, io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  Im2colOptions options_;
  kernels::WindowShape window_{};
};

}  // namespace

Shape Im2colLayer::infer(std::span<const Shape> in) const {
  const kernels::WindowShape w = window_of(options, in[0]);
  require_fit(w);
  return with_windows(in[0], options.axis, w.channels * w.taps(), windows_of(w));
}

std::unique_ptr<Layer> Im2colLayer::make() const {
  return std::make_unique<RunningIm2col>(options);
}

}  // namespace sparknet
