#include <cstdint>
#include <vector>

#include "kernels/cuda/backend.h"
#include "tests/cuda/emulation_test.h"

// Which passes of a convolution cuDNN does, and which are done by columns.

using namespace sparknet;
using namespace sparknet::emulation;
using namespace sparknet::kernels;

namespace {

/// How many pieces of work are the forward pass and those to the gradients of x and of the weights.
struct Pieces {
  std::uint64_t forward, input_gradient, weight_gradient;
  bool operator==(const Pieces&) const = default;
};

Pieces pieces_of_passes(DType dtype, const ConvolutionShape& shape) {
  cuda::CudaBackend backend({});
  const auto plan = backend.convolution(dtype, shape, {});
  const DeviceArray<double> x(1000), weights(1000), y(1000), dx(1000), dweights(1000);
  const DeviceArray<char> scratch(plan->scratch_bytes());
  const auto pieces_of = [&](const auto& work) {
    const std::uint64_t before = pieces_of_work();
    work();
    REQUIRE(cudaDeviceSynchronize() == kSuccess);
    return pieces_of_work() - before;
  };
  return {
      pieces_of([&] { plan->forward(x.get(), weights.get(), nullptr, y.get(), scratch.get()); }),
      pieces_of([&] {
        plan->backward({x.get(), weights.get(), y.get(), y.get(), dx.get(), nullptr, nullptr, false}, scratch.get());
      }),
      pieces_of([&] {
        plan->backward(
            {x.get(), weights.get(), y.get(), y.get(), nullptr, dweights.get(), nullptr, false},
            scratch.get());
      })};
}

}  // namespace

TEST_CASE("cuDNN does the passes that it can do") {
  const ConvolutionShape plain{3, 2, 9, 9, 4, 3, 3};
  ConvolutionShape grouped = plain, dilated = plain, with_stride = plain;
  grouped.group = 2;
  dilated.dilation_h = dilated.dilation_w = 2;
  with_stride.stride_h = with_stride.stride_w = 2;
  for (const DType dtype : {DType::F32, DType::F64}) {
    for (const ConvolutionShape& shape : {plain, grouped, dilated, with_stride})
      CHECK(pieces_of_passes(dtype, shape) == Pieces{1, 1, 1});
  }
  // The weights are rounded first, and their gradient made F32 afterwards; columns are of an image.
  constexpr std::uint64_t kByColumns = 3 * 2;
  CHECK(pieces_of_passes(DType::BF16, plain) == Pieces{2, 2, 2});
  CHECK(pieces_of_passes(DType::BF16, with_stride) == Pieces{2, 1 + kByColumns, 2});
  CHECK(pieces_of_passes(DType::BF16, dilated) == Pieces{2, 2, kByColumns});
  CHECK(pieces_of_passes(DType::BF16, grouped) == Pieces{1 + kByColumns, 1 + kByColumns, kByColumns});
}

TEST_CASE("cuDNN does the passes of NHWC that it can do, and images are turned for the others") {
  ConvolutionShape plain{3, 2, 9, 9, 4, 3, 3};
  plain.nhwc = true;
  ConvolutionShape grouped = plain, with_stride = plain, of_pixels = plain, of_one_channel = plain;
  grouped.group = 2;
  with_stride.stride_h = with_stride.stride_w = 2;
  of_pixels.kernel_h = of_pixels.kernel_w = 1;
  of_one_channel.channels = 1;
  // The weights are turned first, and their gradient afterwards, where that changes anything.
  for (const DType dtype : {DType::F32, DType::F64}) {
    for (const ConvolutionShape& shape : {plain, with_stride}) CHECK(pieces_of_passes(dtype, shape) == Pieces{2, 2, 2});
    for (const ConvolutionShape& shape : {of_pixels, of_one_channel, grouped})
      CHECK(pieces_of_passes(dtype, shape) == Pieces{1, 1, 1});
  }
  // In BF16 they are rounded in the same piece of work.
  CHECK(pieces_of_passes(DType::BF16, plain) == Pieces{2, 2, 2});
  CHECK(pieces_of_passes(DType::BF16, of_pixels) == Pieces{2, 2, 2});
  constexpr std::uint64_t kByColumns = 3 * 2, kTurned = 2;
  CHECK(pieces_of_passes(DType::BF16, with_stride) == Pieces{2, kTurned + 1 + kByColumns, 2});
  CHECK(
      pieces_of_passes(DType::BF16, grouped) ==
      Pieces{kTurned + 1 + kByColumns, kTurned + 1 + kByColumns, kTurned + kByColumns});
}
