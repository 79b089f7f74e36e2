#include <optional>
#include <string>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/lt_product.h"
#include "kernels/cuda/pass_weights.h"

namespace sparknet::kernels::cuda {
namespace {

class InnerProduct final : public Linear {
 public:
  InnerProduct(
      CudaBackend& backend, Context& context, DType dtype, const InnerProductShape& shape, Activation activation)
      : context_(context),
        dtype_(dtype),
        shape_(shape),
        weights_(backend, dtype, shape.num_output * shape.inputs),
        epilogue_(context, dtype, {shape.batch, shape.num_output, 1}, activation),
        what_(
            "inner product of " + std::to_string(shape.batch) + 'x' + std::to_string(shape.inputs) + " by " +
            std::to_string(shape.num_output) + 'x' + std::to_string(shape.inputs)) {
    check_product(context, {shape.batch, shape.num_output, shape.inputs}, {}, what_.c_str());
    context.cublas();
    const bool is_empty = shape.batch == 0 || shape.num_output == 0 || shape.inputs == 0;
    if (dtype == DType::F32 && !is_empty && (!activation.relu || activation.negative_slope == 0))
      fused_.emplace(context, forward_product(), activation.relu, what_.c_str());
  }

  std::size_t scratch_bytes() const override { return weights_.bytes(); }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    if (fused_ && fused_->run(x, weights, bias, y)) return;
    multiply(forward_product(), x, weights_.take(weights, scratch), y);
    epilogue_.forward(bias, y);
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    epilogue_.backward(args.y, args.dy, args.dbias, args.accumulate);
    if (args.dx)
      multiply(
          {shape_.batch, shape_.inputs, shape_.num_output, false, shape_.transposed},
          args.dy,
          weights_.take(args.weights, scratch),
          args.dx);
    if (!args.dweights) return;
    if (shape_.transposed) {
      add_products({shape_.inputs, shape_.num_output, shape_.batch, true, false}, args.x, args.dy, args);
    } else {
      add_products({shape_.num_output, shape_.inputs, shape_.batch, true, false}, args.dy, args.x, args);
    }
  }

 private:
  Product forward_product() const {
    return {shape_.batch, shape_.num_output, shape_.inputs, false, !shape_.transposed};
  }

  void multiply(const Product& product, const void* a, const void* b, void* c) const {
    gemm(context_, {dtype_, dtype_}, product, {}, a, b, c, false, what_.c_str());
  }
  /// Products that are the gradient of the weights.
  void add_products(const Product& product, const void* a, const void* b, const BackwardArgs& args) const {
    gemm(context_, {dtype_, weights_.dtype()}, product, {}, a, b, args.dweights, args.accumulate, what_.c_str());
  }

  Context& context_;
  DType dtype_;
  InnerProductShape shape_;
  PassWeights weights_;
  Epilogue epilogue_;
  std::string what_;
  std::optional<LtProduct> fused_;
};

}  // namespace

std::unique_ptr<Linear> CudaBackend::inner_product(DType dtype, const InnerProductShape& shape, Activation activation) {
  return std::make_unique<InnerProduct>(*this, context_, dtype, shape, activation);
}

}  // namespace sparknet::kernels::cuda
