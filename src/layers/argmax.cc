#include "sparknet/layers/argmax.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningArgMax final : public Layer {
 public:
  explicit RunningArgMax(const ArgMaxOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    const Shape& bottom = setup.bottom()[0];
    using Top = kernels::ArgMaxShape::Top;
    if (options_.axis) {
      const std::size_t axis = axis_of(*options_.axis, bottom);
      const Top top = options_.out_max_val ? Top::Values : Top::Places;
      shape_ = {bottom.count(0, axis), bottom[axis], bottom.count(axis + 1), options_.top_k, top};
    } else {
      const Top top = options_.out_max_val ? Top::Pairs : Top::Places;
      shape_ = {bottom[0], bottom.count(1), 1, options_.top_k, top};
    }
    setup.backward_reads(false, false);
    setup.no_gradient(0);
  }

  void forward(LayerIO& io) override { io.backend().arg_max(io.dtype(), shape_, io.bottom().raw(), io.top().raw()); }

  void backward(LayerIO&) override {}

 private:
  ArgMaxOptions options_;
  kernels::ArgMaxShape shape_{};
};

}  // namespace

Shape ArgMaxLayer::infer(std::span<const Shape> in) const {
  require(options.top_k > 0, "option .top_k must be positive, not {}", options.top_k);
  require(!in[0].empty(), "expects one or more dimensions");
  if (!options.axis) {
    const Dim numbers = in[0].count(1);
    require(options.top_k <= numbers, "option .top_k is {} and an example has {} numbers", options.top_k, numbers);
    Shape top{in[0][0], options.out_max_val ? 2 : 1, options.top_k};
    while (top.size() < in[0].size()) top.push_back(1);
    return top;
  }
  const std::size_t axis = axis_of(*options.axis, in[0]);
  require(
      options.top_k <= in[0][axis],
      "option .top_k is {} and there are {} numbers along axis {}",
      options.top_k,
      in[0][axis],
      axis);
  Shape top = in[0];
  top[axis] = options.top_k;
  return top;
}

std::unique_ptr<Layer> ArgMaxLayer::make() const {
  return std::make_unique<RunningArgMax>(options);
}

}  // namespace sparknet
