#include "sparknet/layers/silence.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningSilence final : public Layer {
 public:
  void setup(LayerSetup& setup) override { setup.backward_reads(false, false); }
  void forward(LayerIO&) override {}
  void backward(LayerIO& io) override {
    for (std::size_t i = 0; i < io.bottom_diffs.size(); ++i)
      if (io.needs_bottom_diff(i)) fill(io, io.bottom_diff(i), 0);
  }
};

}  // namespace

std::vector<Shape> SilenceLayer::infer(std::span<const Shape> in) const {
  require(!in.empty(), "expects one or more inputs");
  return {};
}

std::unique_ptr<Layer> SilenceLayer::make() const {
  return std::make_unique<RunningSilence>();
}

}  // namespace sparknet
