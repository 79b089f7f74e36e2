#include "sparknet/layers/reduction.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningReduction final : public Layer {
 public:
  explicit RunningReduction(const ReductionOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& bottom = setup.bottom()[0];
    const std::size_t axis = axis_of(options_.axis, bottom);
    outer_ = bottom.count(0, axis);
    inner_ = bottom.count(axis);
    scale_ = options_.operation == Reduction::Mean ? options_.coeff / static_cast<double>(inner_) : options_.coeff;
    setup.backward_reads(op() != kernels::ReduceOp::Sum, false);
  }

  void forward(LayerIO& io) override {
    io.backend().reduce(io.dtype(), op(), outer_, inner_, scale_, io.bottom().raw(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    io.backend().reduce_backward(
        io.dtype(),
        op(),
        outer_,
        inner_,
        scale_,
        io.bottom().raw(),
        io.top_diff().raw(),
        io.bottom_diff().raw());
  }

 private:
  kernels::ReduceOp op() const {
    switch (options_.operation) {
      case Reduction::ASum: return kernels::ReduceOp::AbsSum;
      case Reduction::SumSq: return kernels::ReduceOp::SquareSum;
      case Reduction::Sum:
      case Reduction::Mean: break;
    }
    return kernels::ReduceOp::Sum;
  }

  ReductionOptions options_;
  Dim outer_ = 0, inner_ = 0;
  double scale_ = 1;
};

}  // namespace

std::string to_text(Reduction value) {
  switch (value) {
    case Reduction::Sum: return "Reduction::Sum";
    case Reduction::ASum: return "Reduction::ASum";
    case Reduction::SumSq: return "Reduction::SumSq";
    case Reduction::Mean: return "Reduction::Mean";
  }
  return {};
}

Shape ReductionLayer::infer(std::span<const Shape> in) const {
  require_finite("coeff", options.coeff);
  const std::size_t axis = axis_of(options.axis, in[0]);
  return Shape(std::span<const Dim>(in[0].begin(), axis));
}

std::unique_ptr<Layer> ReductionLayer::make() const {
  return std::make_unique<RunningReduction>(options);
}

}  // namespace sparknet
