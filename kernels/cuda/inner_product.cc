#include <optional>
#include <string>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/lt_product.h"

namespace sparknet::kernels::cuda {
namespace {

class InnerProduct final : public Linear {
 public:
  InnerProduct(Context& context, DType dtype, const InnerProductShape& shape, Activation activation)
      : context_(context),
        dtype_(dtype),
        shape_(shape),
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

  std::size_t scratch_bytes() const override { return 0; }

  void forward(const void* x, const void* weights, const void* bias, void* y, void*) override {
    if (fused_ && fused_->run(x, weights, bias, y)) return;
    multiply(forward_product(), x, weights, y, false);
    epilogue_.forward(bias, y);
  }

  void backward(const BackwardArgs& args, void*) override {
    epilogue_.backward(args.y, args.dy, args.dbias, args.accumulate);
    if (args.dx)
      multiply(
          {shape_.batch, shape_.inputs, shape_.num_output, false, shape_.transposed},
          args.dy,
          args.weights,
          args.dx,
          false);
    if (!args.dweights) return;
    if (shape_.transposed) {
      multiply(
          {shape_.inputs, shape_.num_output, shape_.batch, true, false},
          args.x,
          args.dy,
          args.dweights,
          args.accumulate);
    } else {
      multiply(
          {shape_.num_output, shape_.inputs, shape_.batch, true, false},
          args.dy,
          args.x,
          args.dweights,
          args.accumulate);
    }
  }

 private:
  Product forward_product() const {
    return {shape_.batch, shape_.num_output, shape_.inputs, false, !shape_.transposed};
  }

  void multiply(const Product& product, const void* a, const void* b, void* c, bool accumulate) const {
    gemm(context_, dtype_, product, {}, a, b, c, accumulate, what_.c_str());
  }

  Context& context_;
  DType dtype_;
  InnerProductShape shape_;
  Epilogue epilogue_;
  std::string what_;
  std::optional<LtProduct> fused_;
};

}  // namespace

std::unique_ptr<Linear> CudaBackend::inner_product(DType dtype, const InnerProductShape& shape, Activation activation) {
  return std::make_unique<InnerProduct>(context_, dtype, shape, activation);
}

}  // namespace sparknet::kernels::cuda
