#include "sparknet/layers/euclidean_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningEuclideanLoss final : public Layer {
 public:
  explicit RunningEuclideanLoss(const EuclideanLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    pass_.shape = classes_per_example(setup.bottom()[0]);
    pass_.divisor = static_cast<double>(pass_.shape.outer);
    setup.state(static_cast<std::size_t>(count()) * size_of(setup.dtype()));
    run_.setup(setup);
    setup.backward_reads(false, false);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    const void* const bottoms[] = {io.bottom(0).raw(), io.bottom(1).raw()};
    const double coeff[] = {1, -1};
    io.backend().eltwise(io.dtype(), kernels::EltwiseOp::Sum, count(), 2, bottoms, coeff, {}, io.state());
    run_.forward(io, pass_of(io));
  }

  void backward(LayerIO& io) override {
    run_.backward(io, pass_of(io), 0, 1);
    run_.backward(io, pass_of(io), 1, -1);
  }

 private:
  Dim count() const { return pass_.shape.outer * pass_.shape.classes; }
  kernels::LossPass pass_of(const LayerIO& io) const {
    kernels::LossPass pass = pass_;
    pass.x = io.state();
    return pass;
  }

  EuclideanLossOptions options_;
  kernels::LossPass pass_{.kind = kernels::LossKind::Euclidean};
  LossRun run_;
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
