#include "sparknet/layers/embed.h"

#include "src/layers/common.h"

namespace sparknet {
namespace {

class RunningEmbed final : public Layer {
 public:
  explicit RunningEmbed(const EmbedOptions& options) : options_(options) {}

  void setup(LayerSetup& setup) override {
    shape_ = {setup.bottom()[0].count(), options_.input_dim, options_.num_output};
    setup.param(
        "weights",
        {shape_.input_dim, shape_.num_output},
        options_.weight_filler,
        options_.lr_mult.weights,
        options_.decay_mult.weights);
    if (options_.bias)
      setup.param("bias", {shape_.num_output}, options_.bias_filler, options_.lr_mult.bias, options_.decay_mult.bias);
    setup.backward_reads(options_.lr_mult.weights != 0, false);
    setup.no_gradient(0);
    setup.verdict();
  }

  void forward(LayerIO& io) override {
    io.backend().embed(
        io.dtype(),
        shape_,
        io.bottom().raw(),
        io.param(0).raw(),
        options_.bias ? io.param(1).raw() : nullptr,
        io.top().raw(),
        io.verdict());
  }

  void backward(LayerIO& io) override {
    io.backend().embed_backward(
        io.dtype(),
        shape_,
        io.bottom().raw(),
        io.top_diff().raw(),
        io.param_diff(0).raw(),
        options_.bias ? io.param_diff(1).raw() : nullptr,
        io.accumulate());
  }

  void refuse(LayerIO& io, std::int64_t bad) override {
    const Tensor& indices = io.bottom();
    const Dim per_example = indices.shape().count(1);
    const std::string position = per_example == 1 ? "" : fmt::format("at position {} ", bad % per_example);
    throw BadInput(fmt::format(
        "the index of example {} {}is {} and option .input_dim is {}",
        bad / per_example,
        position,
        element(io, indices, bad),
        shape_.input_dim));
  }

 private:
  EmbedOptions options_;
  kernels::EmbedShape shape_{};
};

}  // namespace

Shape EmbedLayer::infer(std::span<const Shape> in) const {
  require_num_output(options.num_output);
  require(options.input_dim != 0, "option .input_dim is required");
  require(options.input_dim > 0, "option .input_dim must be positive, not {}", options.input_dim);
  require(
      in[0].size() < Shape::max_rank,
      "its input has {} dimensions and may have at most {}",
      in[0].size(),
      Shape::max_rank - 1);
  Shape top = in[0];
  top.push_back(options.num_output);
  return top;
}

std::unique_ptr<Layer> EmbedLayer::make() const {
  return std::make_unique<RunningEmbed>(options);
}

}  // namespace sparknet
