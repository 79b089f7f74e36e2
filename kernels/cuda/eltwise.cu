#include "kernels/cuda/backend.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// As many as the parameter of a kernel has room for.
constexpr int kMostInputs = 128;

template <class T>
struct Inputs {
  int count;
  const T* x[kMostInputs];
  Arithmetic<T> coeff[kMostInputs];
};

/// NaN beats every number and nothing beats NaN.
template <class T>
__device__ bool beats(T value, T best) {
  return value > best || (value != value && best == best);
}

template <class T>
Inputs<T> gather(const Context& context, int inputs, const void* const* x, const double* coeff) {
  if (inputs > kMostInputs)
    context.fail("element-wise sum, product or maximum", "takes no more than 128 inputs on a GPU");
  Inputs<T> all{};
  all.count = inputs;
  for (int i = 0; i < inputs; ++i) {
    all.x[i] = static_cast<const T*>(x[i]);
    all.coeff[i] = static_cast<Arithmetic<T>>(coeff ? coeff[i] : 1);
  }
  return all;
}

template <class T, class A = Arithmetic<T>>
void sum_of(Context& context, Index count, const Inputs<T>& all, bool relu, A slope, T* y) {
  if (all.count == 2) {  // as behind most branches; without a loop all is read at once
    const T *const first = all.x[0], *const second = all.x[1];
    const A of_first = all.coeff[0], of_second = all.coeff[1];
    write_each(context, "element-wise sum", count, y, [=] __device__(Index i) {
      const A result = of_first * first[i] + of_second * second[i];
      return relu ? rectified(result, slope) : result;
    });
    return;
  }
  write_each(context, "element-wise sum", count, y, [=] __device__(Index i) {
    A result = all.coeff[0] * all.x[0][i];
    for (int k = 1; k < all.count; ++k) result += all.coeff[k] * all.x[k][i];
    return relu ? rectified(result, slope) : result;
  });
}

template <class T, class A = Arithmetic<T>>
void product_of(Context& context, Index count, const Inputs<T>& all, bool relu, A slope, T* y) {
  write_each(context, "element-wise product", count, y, [=] __device__(Index i) {
    A result = all.x[0][i];
    for (int k = 1; k < all.count; ++k) result *= all.x[k][i];
    return relu ? rectified(result, slope) : result;
  });
}

template <class T, class A = Arithmetic<T>>
void maximum_of(Context& context, Index count, const Inputs<T>& all, bool relu, A slope, T* y) {
  write_each(context, "element-wise maximum", count, y, [=] __device__(Index i) {
    A result = all.x[0][i];
    for (int k = 1; k < all.count; ++k)
      if (beats<A>(all.x[k][i], result)) result = all.x[k][i];
    return relu ? rectified(result, slope) : result;
  });
}

template <class T, class A = Arithmetic<T>>
void sum_backward_of(Context& context, Index count, A coeff, const T* dy, T* dx) {
  write_each(context, "gradient of a sum", count, dx, [=] __device__(Index i) { return coeff * dy[i]; });
}

template <class T, class A = Arithmetic<T>>
void product_backward_of(Context& context, Index count, const Inputs<T>& all, int input, const T* dy, T* dx) {
  write_each(context, "gradient of a product", count, dx, [=] __device__(Index i) {
    A result = dy[i];
    for (int k = 0; k < all.count; ++k)
      if (k != input) result *= all.x[k][i];
    return result;
  });
}

template <class T, class A = Arithmetic<T>>
void maximum_backward_of(Context& context, Index count, const Inputs<T>& all, int input, const T* dy, T* dx) {
  write_each(context, "gradient of a maximum", count, dx, [=] __device__(Index i) {
    const A value = all.x[input][i];
    // The winner is the first that none before it beats or equals and none behind it beats.
    bool wins = true;
    for (int k = 0; k < all.count && wins; ++k) {
      if (k < input) wins = beats<A>(value, all.x[k][i]);
      if (k > input) wins = !beats<A>(all.x[k][i], value);
    }
    return wins ? static_cast<A>(dy[i]) : A(0);
  });
}

}  // namespace

void CudaBackend::eltwise(
    DType dtype, EltwiseOp op, Index count, int inputs, const void* const* x, const double* coeff,
    Activation activation, void* y) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Inputs<T> all = gather<T>(context_, inputs, x, op == EltwiseOp::Sum ? coeff : nullptr);
    T* const to = static_cast<T*>(y);
    const bool relu = activation.relu;
    const auto slope = static_cast<Arithmetic<T>>(activation.negative_slope);
    switch (op) {
      case EltwiseOp::Sum: return sum_of(context_, count, all, relu, slope, to);
      case EltwiseOp::Product: return product_of(context_, count, all, relu, slope, to);
      case EltwiseOp::Max: return maximum_of(context_, count, all, relu, slope, to);
    }
  });
}

void CudaBackend::eltwise_backward(
    DType dtype, EltwiseOp op, Index count, int inputs, const void* const* x, const double* coeff, int input,
    const void* dy, void* dx) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = static_cast<const T*>(dy);
    T* const to = static_cast<T*>(dx);
    if (op == EltwiseOp::Sum)
      return sum_backward_of(context_, count, static_cast<Arithmetic<T>>(coeff[input]), from, to);
    const Inputs<T> all = gather<T>(context_, inputs, x, nullptr);
    if (op == EltwiseOp::Product) return product_backward_of(context_, count, all, input, from, to);
    maximum_backward_of(context_, count, all, input, from, to);
  });
}

}  // namespace sparknet::kernels::cuda
