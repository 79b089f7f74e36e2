#include "sparknet/layers/softmax.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningSoftmax final : public Layer {
 public:
  explicit RunningSoftmax(Dim axis) : axis_(axis) {}

  void setup(LayerSetup& setup) override {
    shape_ = classes_along(axis_, setup.bottom()[0]);
    setup.backward_reads(false, true);
  }

  void forward(LayerIO& io) override { io.backend().softmax(io.dtype(), shape_, io.bottom().raw(), io.top().raw()); }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    io.backend().softmax_backward(io.dtype(), shape_, io.top().raw(), io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  Dim axis_;
  kernels::SoftmaxShape shape_{};
};

}  // namespace

Shape SoftmaxLayer::infer(std::span<const Shape> in) const {
  classes_along(options.axis, in[0]);
  return in[0];
}

std::unique_ptr<Layer> SoftmaxLayer::make() const {
  return std::make_unique<RunningSoftmax>(options.axis);
}

}  // namespace sparknet
