#include "sparknet/layers/infogain_loss.h"

#include "src/layers/common.h"
#include "src/layers/loss.h"

namespace sparknet {
namespace {

class RunningInfogainLoss final : public Layer {
 public:
  explicit RunningInfogainLoss(const InfogainLossOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    softmax_.setup(setup, options_.axis);
    pass_.kind = kernels::LossKind::Infogain;
    pass_.shape = softmax_.shape();
    pass_.has_ignore = options_.ignore_label.has_value();
    pass_.ignore = options_.ignore_label.value_or(0);
    pass_.divisor = divisor(options_.normalization, pass_.shape.outer, setup.bottom()[1].count());
    run_.setup(setup);
    if (!options_.infogain.empty()) {
      std::vector<double> matrix;
      for (const std::vector<double>& row : options_.infogain) matrix.insert(matrix.end(), row.begin(), row.end());
      const Tensor given = Tensor::from<double>({pass_.shape.classes, pass_.shape.classes}, matrix).cast(setup.dtype());
      matrix_ = own_memory(setup.backend(), given.bytes());
      setup.backend().write(matrix_.get(), given.raw(), given.bytes());
    }
    for (std::size_t i = 1; i < setup.bottom().size(); ++i) setup.no_gradient(i);
    setup.loss(options_.loss_weight);
  }

  void forward(LayerIO& io) override {
    softmax_.forward(io);
    run_.forward(io, pass_of(io));
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    run_.backward(io, pass_of(io));
    softmax_.add_gradient_of_top(io);
  }

  void refuse(LayerIO& io, std::int64_t verdict) override { refuse_label(io, verdict, pass_.shape.classes); }

 private:
  kernels::LossPass pass_of(LayerIO& io) const {
    kernels::LossPass pass = pass_;
    pass.x = softmax_.probabilities(io);
    pass.labels = io.bottom(1).raw();
    pass.matrix = matrix_ ? matrix_.get() : io.bottom(2).raw();
    return pass;
  }

  InfogainLossOptions options_;
  InnerSoftmax softmax_;
  kernels::LossPass pass_{};
  std::shared_ptr<std::byte> matrix_;
  LossRun run_;
};

}  // namespace

std::vector<Shape> InfogainLoss::infer(std::span<const Shape> in, std::size_t tops) const {
  require_loss_weight(options.loss_weight);
  require_one_or_two_tops(tops);
  require(in.size() == 2 || in.size() == 3, "expects scores, labels and perhaps a matrix, not {} inputs", in.size());
  require_labels(options.axis, in[0], in[1]);
  const Dim classes = classes_along(options.axis, in[0]).classes;
  if (in.size() == 3) {
    require(options.infogain.empty(), "option .infogain is given, and a third input too");
    require(
        in[2].count() == classes * classes,
        "there are {} classes, and its matrix {} is not {}x{}",
        classes,
        to_string(in[2]),
        classes,
        classes);
  } else {
    const Dim rows = static_cast<Dim>(options.infogain.size());
    require(rows != 0, "option .infogain is required where there is no third input");
    require(rows == classes, "option .infogain has {} rows and there are {} classes", rows, classes);
    for (Dim r = 0; r < rows; ++r) {
      const std::vector<double>& row = options.infogain[static_cast<std::size_t>(r)];
      require(
          static_cast<Dim>(row.size()) == classes,
          "row {} of option .infogain has {} numbers and there are {} classes",
          r,
          row.size(),
          classes);
      for (const double value : row) require_finite("infogain", value);
    }
  }
  return tops == 1 ? std::vector{Shape{1}} : std::vector{Shape{1}, in[0]};
}

std::unique_ptr<Layer> InfogainLoss::make() const {
  return std::make_unique<RunningInfogainLoss>(options);
}

}  // namespace sparknet
