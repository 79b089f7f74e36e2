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
    write_channels(context, "bias and activation", shape, y, [=] __device__(Index c, Index i) {
      const A sum = y[i] + bias[c];
      return relu ? rectified(sum, slope) : sum;
    });
  else if (relu)
    write_each(context, "activation", count_of(shape), y, [=] __device__(Index i) {
      return rectified<A>(y[i], slope);
    });
}

template <class T, class A = Arithmetic<T>>
void gate(Context& context, const ChannelShape& shape, const T* y, A slope, T* dy) {
  write_each(context, "gradient of an activation", count_of(shape), dy, [=] __device__(Index i) {
    return gated<A>(y[i], dy[i], slope);
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
        return Two<A>{dy[i], relu ? static_cast<A>(y[i]) : A(0)};
      },
      [=] __device__(Index, Index i, Two<A> read) {
        // In the same pass, as every element is loaded once.
        A top = read.first;
        if (relu) {
          top = gated<A>(read.second, top, slope);
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
