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
    const std::size_t axis = axis_of(options().axis, in);
    const kernels::InnerProductShape shape{
        in.count(0, axis),
        in.count(axis),
        options().num_output,
        options().transpose};
    const Shape weights =
        options().transpose ? Shape{shape.inputs, shape.num_output} : Shape{shape.num_output, shape.inputs};
    const OutputPlaces outputs =
        options().transpose ? OutputPlaces{1, shape.inputs, 1} : OutputPlaces{1, 1, shape.inputs};
    declare(setup, weights, outputs, setup.backend().inner_product(setup.dtype(), shape, activation()));
  }

 private:
  bool has_channels(const Shape& top) const override { return top.size() == 2; }
};

}  // namespace

Shape InnerProductLayer::infer(std::span<const Shape> in) const {
  require_num_output(options.num_output);
  require(
      options.axis != 1 || in[0].size() >= 2,
      "expects a batch [N, ...], which has 2 or more dimensions, not {}",
      in[0].size());
  Shape top(std::span<const Dim>(in[0].begin(), axis_of(options.axis, in[0])));
  top.push_back(options.num_output);
  return top;
}

std::unique_ptr<Layer> InnerProductLayer::make() const {
  return std::make_unique<RunningInnerProduct>(options);
}

}  // namespace sparknet
