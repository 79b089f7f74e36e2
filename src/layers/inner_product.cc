#include "sparknet/layers/inner_product.h"

#include "src/layers/common.h"
#include "src/layers/linear.h"

namespace sparknet {
namespace {

class RunningInnerProduct final : public RunningLinear<InnerProductOptions> {
 public:
  using RunningLinear::RunningLinear;

  void setup(LayerSetup& setup) override {
    const Shape& in = setup.bottom()[0];
    const kernels::InnerProductShape shape{in[0], in.count(1), options().num_output};
    declare(setup, {shape.num_output, shape.inputs}, setup.backend().inner_product(setup.dtype(), shape, activation()));
  }
};

}  // namespace

Shape InnerProductLayer::infer(std::span<const Shape> in) const {
  require_num_output(options.num_output);
  require(in[0].size() >= 2, "expects a batch [N, ...], which has 2 or more dimensions, not {}", in[0].size());
  return {in[0][0], options.num_output};
}

std::unique_ptr<Layer> InnerProductLayer::make() const {
  return std::make_unique<RunningInnerProduct>(options);
}

}  // namespace sparknet
