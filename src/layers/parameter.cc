#include "sparknet/layers/parameter.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningParameter final : public Layer {
 public:
  explicit RunningParameter(const ParameterOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    setup.param("weights", options_.shape, options_.filler, options_.lr_mult, options_.decay_mult);
    setup.backward_reads(false, false);
  }

  void forward(LayerIO& io) override { copy(io, io.param(0), io.top()); }

  void backward(LayerIO& io) override {
    if (!io.needs_param_diff(0)) return;
    if (io.accumulate())
      io.backend().axpy(io.dtype(), io.top_diff().count(), 1, io.top_diff().raw(), io.param_diff(0).raw());
    else
      copy(io, io.top_diff(), io.param_diff(0));
  }

 private:
  static void copy(LayerIO& io, const Tensor& from, Tensor& to) { io.backend().copy(to.raw(), from.raw(), to.bytes()); }

  ParameterOptions options_;
};

}  // namespace

Shape ParameterLayer::infer(std::span<const Shape> in) const {
  require(in.empty(), "takes no inputs, not {}", in.size());
  require(!options.shape.empty(), "option .shape is required");
  require_positive("option .shape", options.shape);
  return options.shape;
}

std::unique_ptr<Layer> ParameterLayer::make() const {
  return std::make_unique<RunningParameter>(options);
}

}  // namespace sparknet
