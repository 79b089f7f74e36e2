#include "sparknet/layers/lrn.h"

#include <cmath>

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningLRN final : public Layer {
 public:
  explicit RunningLRN(const LRNOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const kernels::LrnShape shape{
        .batch = in[0],
        .channels = in[1],
        .height = in[2],
        .width = in[3],
        .local_size = options_.local_size,
        .alpha = options_.alpha,
        .beta = options_.beta,
        .k = options_.k,
        .region = options_.norm_region == NormRegion::AcrossChannels ? kernels::LrnRegion::AcrossChannels
                                                                     : kernels::LrnRegion::WithinChannel,
        .nhwc = setup.nhwc()};
    plan_ = setup.backend().lrn(setup.dtype(), shape);
    setup.state(plan_->state_bytes());
  }

  May may_be_bf16(std::size_t, std::size_t) const override { return May::WhereInputsAre; }
  May may_be_nhwc(std::size_t, std::size_t) const override { return May::WhereInputsAre; }

  void forward(LayerIO& io) override { plan_->forward(io.bottom().raw(), io.top().raw(), io.state()); }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    plan_->backward(io.bottom().raw(), io.top().raw(), io.state(), io.top_diff().raw(), io.bottom_diff().raw());
  }

 private:
  LRNOptions options_;
  std::unique_ptr<kernels::Lrn> plan_;
};

}  // namespace

std::string to_text(NormRegion value) {
  return value == NormRegion::AcrossChannels ? "NormRegion::AcrossChannels" : "NormRegion::WithinChannel";
}

Shape LRNLayer::infer(std::span<const Shape> in) const {
  require(options.local_size > 0, "option .local_size must be positive, not {}", options.local_size);
  require(options.local_size % 2 == 1, "option .local_size must be odd, not {}", options.local_size);
  require(options.k > 0, "option .k must be positive, not {}", options.k);
  require(
      std::isfinite(options.alpha) && std::isfinite(options.beta) && std::isfinite(options.k),
      "options .alpha, .beta and .k must be finite");
  require_image(in[0]);
  return in[0];
}

std::unique_ptr<Layer> LRNLayer::make() const {
  return std::make_unique<RunningLRN>(options);
}

}  // namespace sparknet
