#include "sparknet/layers/dropout.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningDropout final : public Layer {
 public:
  explicit RunningDropout(double ratio) : keep_(1 - ratio) {}

  void setup(LayerSetup& setup) override {
    setup.backward_reads(false, false);
    setup.in_place();
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override {
    if (io.phase() == Phase::Train)
      drop(io, io.bottom(), io.top());
    else if (io.top().raw() != io.bottom().raw())
      io.backend().copy(io.top().raw(), io.bottom().raw(), io.top().bytes());
  }

  void backward(LayerIO& io) override {
    if (io.needs_bottom_diff()) drop(io, io.top_diff(), io.bottom_diff());
  }

 private:
  void drop(LayerIO& io, const Tensor& x, Tensor& y) const {
    io.backend().dropout(io.dtype(), x.count(), keep_, 1 / keep_, io.seed(), io.sequence(), x.raw(), y.raw());
  }

  double keep_;
};

}  // namespace

Shape DropoutLayer::infer(std::span<const Shape> in) const {
  require(
      options.ratio >= 0 && options.ratio < 1,
      "option .ratio must be at least 0 and less than 1, not {}",
      options.ratio);
  return in[0];
}

std::unique_ptr<Layer> DropoutLayer::make() const {
  return std::make_unique<RunningDropout>(options.ratio);
}

}  // namespace sparknet
