#include "sparknet/layers/eltwise.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

kernels::EltwiseOp kernel_op(Eltwise operation) {
  switch (operation) {
    case Eltwise::Sum: break;
    case Eltwise::Prod: return kernels::EltwiseOp::Product;
    case Eltwise::Max: return kernels::EltwiseOp::Max;
  }
  return kernels::EltwiseOp::Sum;
}

class RunningEltwise final : public Layer {
 public:
  explicit RunningEltwise(const EltwiseOptions& options) : op_(kernel_op(options.operation)), coeff_(options.coeff) {}

  void setup(LayerSetup& setup) override {
    bottoms_.resize(setup.bottom().size());
    if (coeff_.empty()) coeff_.assign(bottoms_.size(), 1);
    setup.backward_reads(op_ != kernels::EltwiseOp::Sum, false);
  }

  void forward(LayerIO& io) override {
    io.backend().eltwise(io.dtype(), op_, io.top().count(), inputs(), pointers(io), coeff_.data(), io.top().raw());
  }

  void backward(LayerIO& io) override {
    for (int i = 0; i < inputs(); ++i) {
      const auto input = static_cast<std::size_t>(i);
      if (!io.needs_bottom_diff(input)) continue;
      io.backend().eltwise_backward(
          io.dtype(),
          op_,
          io.top_diff().count(),
          inputs(),
          pointers(io),
          coeff_.data(),
          i,
          io.top_diff().raw(),
          io.bottom_diff(input).raw());
    }
  }

 private:
  int inputs() const { return static_cast<int>(bottoms_.size()); }
  const void* const* pointers(const LayerIO& io) {
    for (std::size_t i = 0; i < bottoms_.size(); ++i) bottoms_[i] = io.bottom(i).raw();
    return bottoms_.data();
  }

  kernels::EltwiseOp op_;
  std::vector<double> coeff_;
  std::vector<const void*> bottoms_;
};

}  // namespace

std::string to_text(Eltwise value) {
  switch (value) {
    case Eltwise::Sum: return "Eltwise::Sum";
    case Eltwise::Prod: return "Eltwise::Prod";
    case Eltwise::Max: return "Eltwise::Max";
  }
  return {};
}

Shape EltwiseLayer::infer(std::span<const Shape> in) const {
  require(in.size() >= 2, "expects two or more inputs, not {}", in.size());
  require(options.coeff.empty() || options.operation == Eltwise::Sum, "option .coeff is for Eltwise::Sum only");
  require(
      options.coeff.empty() || options.coeff.size() == in.size(),
      "option .coeff holds {} numbers for {} inputs",
      options.coeff.size(),
      in.size());
  for (std::size_t i = 1; i < in.size(); ++i)
    require(
        in[i] == in[0],
        "inputs must have one shape: input {} is {} and input 0 is {}",
        i,
        to_string(in[i]),
        to_string(in[0]));
  return in[0];
}

std::unique_ptr<Layer> EltwiseLayer::make() const {
  return std::make_unique<RunningEltwise>(options);
}

}  // namespace sparknet
