#include "kernels/cuda/convolution.h"

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

void widen_as(Context& context, Index count, const Bf16* x, float* y, bool accumulate) {
  for_each(context, "gradient of weights", count, [=] __device__(Index i) {
    y[i] = accumulate ? y[i] + static_cast<float>(x[i]) : static_cast<float>(x[i]);
  });
}

}  // namespace

void widen(Context& context, Index count, const void* x, void* y, bool accumulate) {
  widen_as(context, count, in<Bf16>(x), out<float>(y), accumulate);
}

}  // namespace sparknet::kernels::cuda
