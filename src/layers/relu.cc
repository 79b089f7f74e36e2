#include "sparknet/layers/relu.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningReLU final : public Layer {
 public:
  explicit RunningReLU(double negative_slope) : negative_slope_(negative_slope) {}

  void setup(LayerSetup& setup) override {
    setup.backward_reads(!top_tells_sign(), top_tells_sign());
    if (top_tells_sign()) setup.in_place();
    setup.recomputes();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    io.backend().relu(io.dtype(), io.top().count(), negative_slope_, io.bottom().raw(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    const Tensor& gate = top_tells_sign() ? io.top() : io.bottom();
    io.backend().relu_backward(
        io.dtype(),
        gate.count(),
        negative_slope_,
        gate.raw(),
        io.top_diff().raw(),
        io.bottom_diff().raw());
  }

  std::optional<FusedReLU> as_relu() const override {
    if (!top_tells_sign()) return {};
    return FusedReLU{negative_slope_};
  }

 private:
  bool top_tells_sign() const { return negative_slope_ >= 0; }

  double negative_slope_;
};

}  // namespace

Shape ReLULayer::infer(std::span<const Shape> in) const {
  require_finite("negative_slope", options.negative_slope);
  return in[0];
}

std::unique_ptr<Layer> ReLULayer::make() const {
  return std::make_unique<RunningReLU>(options.negative_slope);
}

}  // namespace sparknet
