#include "kernels/cuda/activation.h"

#include "kernels/cuda/channel_passes.h"
#include "kernels/cuda/functions.h"

namespace sparknet::kernels::cuda {
namespace {

Index count_of(const ChannelShape& shape) {
  return shape.outer * shape.channels * shape.inner;
}

template <class T, class A = Arithmetic<T>>
void finish(Context& context, const ChannelShape& shape, const A* bias, bool relu, A slope, T* y) {
  if (bias)
    for_channel_elements(context, "bias and activation", shape, [=] __device__(Index c, Index i) {
      const A sum = y[i] + bias[c];
      y[i] = static_cast<T>(relu ? rectified(sum, slope) : sum);
    });
  else if (relu)
    for_each(context, "activation", count_of(shape), [=] __device__(Index i) {
      y[i] = static_cast<T>(rectified<A>(y[i], slope));
    });
}

template <class T, class A = Arithmetic<T>>
void gate(Context& context, const ChannelShape& shape, const T* y, A slope, T* dy) {
  for_each(context, "gradient of an activation", count_of(shape), [=] __device__(Index i) {
    dy[i] = static_cast<T>(gated<A>(y[i], dy[i], slope));
  });
}

template <class T, class A = Arithmetic<T>>
void gate_and_add(
    Context& context, const ChannelShape& shape, const T* y, bool relu, A slope, T* dy, A* dbias, bool accumulate) {
  reduce_channels(
      context,
      "gradient of a bias",
      shape,
      0.0,
      [=] __device__(Index, Index i) {
        // In the same pass, as every element is loaded once.
        A top = dy[i];
        if (relu) {
          top = gated<A>(y[i], top, slope);
          dy[i] = static_cast<T>(top);
        }
        return static_cast<double>(top);
      },
      [] __device__(double a, double b) { return a + b; },
      [=] __device__(Index c, double sum) {
        dbias[c] = static_cast<A>((accumulate ? static_cast<double>(dbias[c]) : 0) + sum);
      });
}

}  // namespace

void Epilogue::forward(const void* bias, void* y) const {
  with_blob_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const A slope = static_cast<A>(activation_.negative_slope);
    finish(context_, shape_, in<A>(bias), activation_.relu, slope, out<T>(y));
  });
}

void Epilogue::backward(const void* y, void* dy, void* dbias, bool accumulate) const {
  with_blob_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    using A = Arithmetic<T>;
    const A slope = static_cast<A>(activation_.negative_slope);
    if (dbias)
      gate_and_add(context_, shape_, in<T>(y), activation_.relu, slope, out<T>(dy), out<A>(dbias), accumulate);
    else if (activation_.relu)
      gate(context_, shape_, in<T>(y), slope, out<T>(dy));
  });
}

}  // namespace sparknet::kernels::cuda
