#include <new>

#include "kernels/cuda/convolution.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/pass_weights.h"

namespace sparknet::kernels::cuda {
namespace {

class ColumnPasses final : public ConvolutionPasses {
 public:
  ColumnPasses(CudaBackend& backend, Context& context, DType dtype, const ConvolutionNdShape& shape)
      : backend_(backend),
        context_(context),
        dtype_(dtype),
        weights_(backend, dtype, shape.num_output * (shape.window.channels / shape.group) * shape.window.taps()),
        window_(shape.window),
        batch_(shape.window.batch),
        group_(shape.group),
        outputs_(shape.num_output / shape.group),
        depth_(shape.window.channels / shape.group * shape.window.taps()),
        positions_(shape.window.positions()),
        what_(describe(shape)) {
    window_.batch = 1;
    for (int axis = 0; axis < window_.axes; ++axis) {
      const auto a = static_cast<std::size_t>(axis);
      if (window_.kernel[a] != 1 || window_.stride[a] != 1 || window_.pad[a] != 0) writes_columns_ = true;
    }
    const double columns = static_cast<double>(group_ * depth_) * static_cast<double>(positions_);
    if (columns > 1e15 / static_cast<double>(size_of(weights_.dtype())))
      throw std::bad_alloc();  // counted in 64 bits below
    check_product(context, {outputs_, positions_, depth_}, {group_}, what_.c_str());
    context.cublas();
  }

  std::size_t scratch_bytes() const override {
    const auto columns = static_cast<std::size_t>(group_ * depth_ * positions_);
    return weights_.bytes() + (writes_columns_ ? columns * size_of(weights_.dtype()) : 0);
  }

  void forward(const void* x, const void* weights, void* y, void* scratch) override {
    const void* const taken = weights_.take(weights, scratch);
    for (Index image = 0; image < batch_; ++image) {
      const void* const columns = columns_of(x, image, weights_.behind(scratch));
      multiply(
          {outputs_, positions_, depth_},
          {group_, outputs_ * depth_, depth_ * positions_, outputs_ * positions_},
          taken,
          columns,
          at(y, image * y_size()),
          dtype_,
          false);
    }
  }

  void input_gradient(const void* weights, const void* dy, void* dx, void* scratch) override {
    const void* const taken = weights_.take(weights, scratch);
    for (Index image = 0; image < batch_; ++image) {
      void* const to = at(dx, image * x_size());
      void* const columns = writes_columns_ ? weights_.behind(scratch) : to;
      multiply(
          {depth_, positions_, outputs_, true, false},
          {group_, outputs_ * depth_, outputs_ * positions_, depth_ * positions_},
          taken,
          at(dy, image * y_size()),
          columns,
          writes_columns_ ? weights_.dtype() : dtype_,
          false);
      if (writes_columns_) backend_.col2im(weights_.dtype(), dtype_, window_, columns, to);
    }
  }

  void weight_gradient(const void* x, const void* dy, void* dweights, bool accumulate, void* scratch) override {
    if (batch_ == 0 && !accumulate) {
      if (!context_.begins()) return;
      const auto bytes = static_cast<std::size_t>(group_ * outputs_ * depth_) * size_of(weights_.dtype());
      context_.check(cudaMemsetAsync(dweights, 0, bytes, context_.stream()), what_.c_str());
      context_.done();
    }
    for (Index image = 0; image < batch_; ++image) {
      const void* const columns = columns_of(x, image, weights_.behind(scratch));
      multiply(
          {outputs_, depth_, positions_, false, true},
          {group_, outputs_ * positions_, depth_ * positions_, outputs_ * depth_},
          at(dy, image * y_size()),
          columns,
          dweights,
          weights_.dtype(),
          accumulate || image > 0);
    }
  }

 private:
  /// Elements of one image.
  Index x_size() const { return window_.channels * window_.pixels(); }
  Index y_size() const { return group_ * outputs_ * positions_; }
  const void* at(const void* array, Index element) const {
    return static_cast<const char*>(array) + element * static_cast<Index>(size_of(dtype_));
  }
  void* at(void* array, Index element) const {
    return static_cast<char*>(array) + element * static_cast<Index>(size_of(dtype_));
  }

  const void* columns_of(const void* x, Index image, void* scratch) const {
    const void* const from = at(x, image * x_size());
    if (!writes_columns_) return from;
    backend_.im2col(dtype_, window_, from, scratch);
    return scratch;
  }

  void multiply(
      const Product& product, const Series& groups, const void* a, const void* b, void* c, DType of_c,
      bool accumulate) const {
    gemm(context_, {dtype_, of_c}, product, groups, a, b, c, accumulate, what_.c_str());
  }

  CudaBackend& backend_;
  Context& context_;
  /// Of images. What is added up has that of the weights in memory.
  DType dtype_;
  PassWeights weights_;
  /// Of one image.
  WindowShape window_;
  Index batch_, group_;
  /// Of one group; the depth is that of the columns.
  Index outputs_, depth_;
  Index positions_;
  std::string what_;
  /// Not where the columns are the image.
  bool writes_columns_ = false;
};

/// "2x3x32x32"
std::string sizes(Index first, Index second, const WindowShape::Sizes& others, int axes) {
  std::string text = std::to_string(first) + 'x' + std::to_string(second);
  for (int axis = 0; axis < axes; ++axis) text += 'x' + std::to_string(others[static_cast<std::size_t>(axis)]);
  return text;
}

}  // namespace

std::unique_ptr<ConvolutionPasses> make_column_passes(
    CudaBackend& backend, Context& context, DType dtype, const ConvolutionNdShape& shape) {
  return std::make_unique<ColumnPasses>(backend, context, dtype, shape);
}

std::string describe(const ConvolutionNdShape& shape) {
  const WindowShape& window = shape.window;
  return "convolution of " + sizes(window.batch, window.channels, window.size, window.axes) + " by " +
         sizes(shape.num_output, window.channels / shape.group, window.kernel, window.axes);
}

std::unique_ptr<Linear> CudaBackend::convolution_nd(
    DType dtype, const ConvolutionNdShape& shape, Activation activation) {
  const WindowShape& window = shape.window;
  if (window.axes <= 2) return convolution(dtype, flat(shape), activation);
  return std::make_unique<ConvolutionPlan>(
      context_,
      dtype,
      make_column_passes(*this, context_, dtype, shape),
      ChannelShape{window.batch, shape.num_output, window.positions()},
      activation,
      false);
}

std::unique_ptr<Linear> CudaBackend::deconvolution_nd(
    DType dtype, const ConvolutionNdShape& shape, Activation activation) {
  const WindowShape& window = shape.window;
  if (window.axes <= 2) return deconvolution(dtype, flat(shape), activation);
  return std::make_unique<ConvolutionPlan>(
      context_,
      dtype,
      make_column_passes(*this, context_, dtype, shape),
      ChannelShape{window.batch, window.channels, window.pixels()},
      activation,
      true);
}

}  // namespace sparknet::kernels::cuda
