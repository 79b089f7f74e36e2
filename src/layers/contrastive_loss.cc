#include "sparknet/layers/contrastive_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningContrastiveLoss final : public Layer {
 public:
  explicit RunningContrastiveLoss(const ContrastiveLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    pass_.kind = options_.legacy_version ? kernels::LossKind::ContrastiveSquares : kernels::LossKind::Contrastive;
    pass_.shape = classes_per_example(setup.bottom()[0]);
    pass_.margin = options_.margin;
    pass_.divisor = 2 * static_cast<double>(pass_.shape.outer);
    setup.state(static_cast<std::size_t>(count()) * size_of(setup.dtype()));
    run_.setup(setup);
    setup.backward_reads(true, false);
    setup.no_gradient(2);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    const void* const features[] = {io.bottom(0).raw(), io.bottom(1).raw()};
    const double coeff[] = {1, -1};
    io.backend().eltwise(io.dtype(), kernels::EltwiseOp::Sum, count(), 2, features, coeff, {}, io.state());
    run_.forward(io, pass_of(io));
  }

  void backward(LayerIO& io) override {
    run_.backward(io, pass_of(io));
    if (!io.needs_bottom_diff(1)) return;
    if (io.needs_bottom_diff(0))
      io.backend().map(
          io.dtype(),
          {kernels::MapKind::Affine, -1, 0, 0},
          count(),
          io.bottom_diff(0).raw(),
          io.bottom_diff(1).raw());
    else
      run_.backward(io, pass_of(io), 1, -1);
  }

  void refuse(LayerIO& io, std::int64_t verdict) override {
    throw BadInput(fmt::format("the label of pair {} is {}", verdict, element(io, io.bottom(2), verdict)));
  }

 private:
  Dim count() const { return pass_.shape.outer * pass_.shape.classes; }
  kernels::LossPass pass_of(const LayerIO& io) const {
    kernels::LossPass pass = pass_;
    pass.x = io.state();
    pass.labels = io.bottom(2).raw();
    return pass;
  }

  ContrastiveLossOptions options_;
  kernels::LossPass pass_{};
  LossRun run_;
};

}  // namespace

Shape ContrastiveLoss::infer(std::span<const Shape> in) const {
  require_loss_weight(options.loss_weight);
  require_finite("margin", options.margin);
  require_same_examples("first features", in[0], "second features", in[1]);
  require_same_batch("features", in[0], "labels", in[2]);
  require(in[2].count(1) == 1, "expects one label for each pair, not {}", in[2].count(1));
  return {1};
}

std::unique_ptr<Layer> ContrastiveLoss::make() const {
  return std::make_unique<RunningContrastiveLoss>(options);
}

}  // namespace sparknet
