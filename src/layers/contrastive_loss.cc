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
    divisor_ = 2 * static_cast<double>(pass_.shape.outer);
    setup.state(static_cast<std::size_t>(count()) * size_of(setup.dtype()));
    setup.backward_reads(true, false);
    setup.no_gradient(2);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    const void* const features[] = {io.bottom(0).raw(), io.bottom(1).raw()};
    const double coeff[] = {1, -1};
    io.backend().eltwise(io.dtype(), kernels::EltwiseOp::Sum, count(), 2, features, coeff, io.state());
    const kernels::LossResult loss = io.backend().loss(io.dtype(), pass_of(io));
    require(
        loss.bad_label < 0,
        "the label of pair {} is {}",
        loss.bad_label,
        loss.bad_label < 0 ? 0 : element(io.bottom(2), loss.bad_label));
    io.top().fill(loss.sum / divisor_);
  }

  void backward(LayerIO& io) override {
    const double scale = element(io.top_diff(), 0) / divisor_;
    const bool first = io.needs_bottom_diff(0), second = io.needs_bottom_diff(1);
    if (first) io.backend().loss_backward(io.dtype(), pass_of(io), scale, io.bottom_diff(0).raw());
    if (!second) return;
    if (first)
      io.backend().map(
          io.dtype(),
          {kernels::MapKind::Affine, -1, 0, 0},
          count(),
          io.bottom_diff(0).raw(),
          io.bottom_diff(1).raw());
    else
      io.backend().loss_backward(io.dtype(), pass_of(io), -scale, io.bottom_diff(1).raw());
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
  double divisor_ = 1;
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
