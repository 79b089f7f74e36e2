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
    setup.backward_reads(op_ != kernels::EltwiseOp::Sum, relu_.has_value());
    if (op_ == kernels::EltwiseOp::Sum || setup.phase() == Phase::Test) setup.in_place(bottoms_.size());
    setup.recomputes();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    const kernels::Activation activation{relu_.has_value(), relu_ ? relu_->negative_slope : 0};
    io.backend()
        .eltwise(io.dtype(), op_, io.top().count(), inputs(), pointers(io), coeff_.data(), activation, io.top().raw());
  }

  void backward(LayerIO& io) override {
    std::byte* const dy = io.top_diff().raw();
    if (relu_)
      io.backend().relu_backward(io.dtype(), io.top_diff().count(), relu_->negative_slope, io.top().raw(), dy, dy);
    // The one that lies where dy does comes last.
    std::size_t in_place = bottoms_.size();
    for (std::size_t i = 0; i < bottoms_.size(); ++i) {
      if (!io.needs_bottom_diff(i)) continue;
      if (io.bottom_diff(i).raw() == dy)
        in_place = i;
      else
        input_backward(io, i);
    }
    if (in_place < bottoms_.size() && coeff_[in_place] != 1) input_backward(io, in_place);
  }

  bool fuse(const FusedReLU& relu) override {
    relu_ = relu;
    return true;
  }

 private:
  int inputs() const { return static_cast<int>(bottoms_.size()); }
  void input_backward(LayerIO& io, std::size_t input) {
    io.backend().eltwise_backward(
        io.dtype(),
        op_,
        io.top_diff().count(),
        inputs(),
        pointers(io),
        coeff_.data(),
        static_cast<int>(input),
        io.top_diff().raw(),
        io.bottom_diff(input).raw());
  }
  const void* const* pointers(const LayerIO& io) {
    for (std::size_t i = 0; i < bottoms_.size(); ++i) bottoms_[i] = io.bottom(i).raw();
    return bottoms_.data();
  }

  kernels::EltwiseOp op_;
  std::vector<double> coeff_;
  std::optional<FusedReLU> relu_;
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
