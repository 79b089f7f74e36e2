#include "sparknet/layers/euclidean_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningEuclideanLoss final : public Layer {
 public:
  explicit RunningEuclideanLoss(const EuclideanLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& predictions = setup.bottom()[0];
    examples_ = static_cast<double>(predictions[0]);
    count_ = predictions.count();
    setup.state(static_cast<std::size_t>(count_) * size_of(setup.dtype()));
    setup.backward_reads(false, false);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    const void* const bottoms[] = {io.bottom(0).raw(), io.bottom(1).raw()};
    const double coeff[] = {1, -1};
    io.backend().eltwise(io.dtype(), kernels::EltwiseOp::Sum, count_, 2, bottoms, coeff, io.state());
    io.top().fill(io.backend().sum_squares(io.dtype(), count_, io.state()) / (2 * examples_));
  }

  void backward(LayerIO& io) override {
    for (std::size_t i = 0; i < 2; ++i) {
      if (!io.needs_bottom_diff(i)) continue;
      const double scale = (i == 0 ? 1 : -1) * element(io.top_diff(), 0) / examples_;
      io.backend()
          .map(io.dtype(), {kernels::MapKind::Affine, scale, 0, 0}, count_, io.state(), io.bottom_diff(i).raw());
    }
  }

 private:
  EuclideanLossOptions options_;
  double examples_ = 1;
  Dim count_ = 0;
};

}  // namespace

Shape EuclideanLoss::infer(std::span<const Shape> in) const {
  require_loss_weight(options.loss_weight);
  require_same_examples("predictions", in[0], "targets", in[1]);
  return {1};
}

std::unique_ptr<Layer> EuclideanLoss::make() const {
  return std::make_unique<RunningEuclideanLoss>(options);
}

}  // namespace sparknet
