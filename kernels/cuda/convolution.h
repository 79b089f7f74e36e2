#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/rounded_weights.h"

namespace sparknet::kernels::cuda {

/// The three passes of a convolution, without bias and activation. In BF16 the weights are BF16 too, as they are
/// rounded before, but their gradient is F32.
class ConvolutionPasses {
 public:
  virtual ~ConvolutionPasses() = default;
  virtual std::size_t scratch_bytes() const = 0;
  virtual void forward(const void* x, const void* weights, void* y, void* scratch) = 0;
  virtual void input_gradient(const void* weights, const void* dy, void* dx, void* scratch) = 0;
  virtual void weight_gradient(const void* x, const void* dy, void* dweights, bool accumulate, void* scratch) = 0;
};

/// By im2col and cuBLAS, one image after the other.
std::unique_ptr<ConvolutionPasses> make_column_passes(
    CudaBackend& backend, Context& context, DType dtype, const ConvolutionNdShape& shape);

/// y = x, or y += x: what cuDNN gives in BF16, which the gradient of weights is not.
void widen(Context& context, Index count, const void* x, void* y, bool accumulate);

Index weight_count(const ConvolutionNdShape& shape);

/// "convolution of 64x3x227x227 by 96x3x11x11"
std::string describe(const ConvolutionNdShape& shape);

/// A convolution, or a deconvolution, which goes the passes of one the other way round: its x is their y.
class ConvolutionPlan final : public Linear {
 public:
  /// `y` is the shape of what this plan makes.
  ConvolutionPlan(
      Context& context, DType dtype, const RoundedWeights& weights, std::unique_ptr<ConvolutionPasses> passes,
      const ChannelShape& y, Activation activation, bool reversed)
      : weights_(weights), passes_(std::move(passes)), epilogue_(context, dtype, y, activation), reversed_(reversed) {}

  std::size_t scratch_bytes() const override { return weights_.bytes() + passes_->scratch_bytes(); }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    const void* const rounded = weights_.round(weights, scratch);
    if (reversed_) {
      passes_->input_gradient(rounded, x, y, weights_.behind(scratch));
    } else {
      passes_->forward(x, rounded, y, weights_.behind(scratch));
    }
    epilogue_.forward(bias, y);
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    epilogue_.backward(args.y, args.dy, args.dbias, args.accumulate);
    const void* const x = reversed_ ? args.dy : args.x;
    const void* const dy = reversed_ ? args.x : args.dy;
    void* const rest = weights_.behind(scratch);
    if (args.dweights) passes_->weight_gradient(x, dy, args.dweights, args.accumulate, rest);
    if (!args.dx) return;
    const void* const rounded = weights_.round(args.weights, scratch);
    if (reversed_) {
      passes_->forward(args.dy, rounded, args.dx, rest);
    } else {
      passes_->input_gradient(rounded, args.dy, args.dx, rest);
    }
  }

 private:
  RoundedWeights weights_;
  std::unique_ptr<ConvolutionPasses> passes_;
  Epilogue epilogue_;
  bool reversed_;
};

}  // namespace sparknet::kernels::cuda
