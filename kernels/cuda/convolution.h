#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/backend.h"

namespace sparknet::kernels::cuda {

/// The three passes of a convolution, without bias and activation. The weights and their gradient are as in memory.
class ConvolutionPasses {
 public:
  virtual ~ConvolutionPasses() = default;
  virtual std::size_t scratch_bytes() const = 0;
  virtual void forward(const void* x, const void* weights, void* y, void* scratch) = 0;
  virtual void input_gradient(const void* weights, const void* dy, void* dx, void* scratch) = 0;
  virtual void weight_gradient(const void* x, const void* dy, void* dweights, bool accumulate, void* scratch) = 0;
};

/// By im2col and cuBLAS, one image after the other, which are NCHW.
std::unique_ptr<ConvolutionPasses> make_column_passes(
    CudaBackend& backend, Context& context, DType dtype, const ConvolutionNdShape& shape);

/// "convolution of 64x3x227x227 by 96x3x11x11"
std::string describe(const ConvolutionNdShape& shape);

/// A convolution, or a deconvolution, which goes the passes of one the other way round: its x is their y.
class ConvolutionPlan final : public Linear {
 public:
  /// `y` is the shape of what this plan makes.
  ConvolutionPlan(
      Context& context, DType dtype, std::unique_ptr<ConvolutionPasses> passes, const ChannelShape& y,
      Activation activation, bool reversed)
      : passes_(std::move(passes)), epilogue_(context, dtype, y, activation), reversed_(reversed) {}

  std::size_t scratch_bytes() const override { return passes_->scratch_bytes(); }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    if (reversed_) {
      passes_->input_gradient(weights, x, y, scratch);
    } else {
      passes_->forward(x, weights, y, scratch);
    }
    epilogue_.forward(bias, y);
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    epilogue_.backward(args.y, args.dy, args.dbias, args.accumulate);
    const void* const x = reversed_ ? args.dy : args.x;
    const void* const dy = reversed_ ? args.x : args.dy;
    if (args.dweights) passes_->weight_gradient(x, dy, args.dweights, args.accumulate, scratch);
    if (!args.dx) return;
    if (reversed_) {
      passes_->forward(args.dy, args.weights, args.dx, scratch);
    } else {
      passes_->input_gradient(args.weights, args.dy, args.dx, scratch);
    }
  }

 private:
  std::unique_ptr<ConvolutionPasses> passes_;
  Epilogue epilogue_;
  bool reversed_;
};

}  // namespace sparknet::kernels::cuda
