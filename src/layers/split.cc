#include "sparknet/layers/split.h"

#include "src/layers/common.h"
#include "src/layers/move.h"

namespace sparknet {
namespace {

class RunningSplit final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    tops_.resize(setup.top().size());
    ones_.assign(tops_.size(), 1);
    setup.backward_reads(false, false);
    setup.in_place();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    for (std::size_t i = 0; i < tops_.size(); ++i) copy_elements(io, io.bottom(), io.top(i));
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    if (tops_.size() == 1) return copy_elements(io, io.top_diff(), io.bottom_diff());
    for (std::size_t i = 0; i < tops_.size(); ++i) tops_[i] = io.top_diff(i).raw();
    io.backend().eltwise(
        io.dtype(),
        kernels::EltwiseOp::Sum,
        io.bottom_diff().count(),
        static_cast<int>(tops_.size()),
        tops_.data(),
        ones_.data(),
        {},
        io.bottom_diff().raw());
  }

 private:
  std::vector<const void*> tops_;
  std::vector<double> ones_;
};

}  // namespace

std::vector<Shape> SplitLayer::infer(std::span<const Shape> in, std::size_t tops) const {
  return std::vector<Shape>(tops, in[0]);
}

std::unique_ptr<Layer> SplitLayer::make() const {
  return std::make_unique<RunningSplit>();
}

}  // namespace sparknet
