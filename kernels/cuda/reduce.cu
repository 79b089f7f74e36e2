#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

template <class T>
__device__ double term(ReduceOp op, T x) {
  const double v = static_cast<double>(x);
  return op == ReduceOp::Sum ? v : op == ReduceOp::AbsSum ? std::abs(v) : v * v;
}

struct Add {
  __device__ double operator()(double a, double b) const { return a + b; }
};

template <class T>
void reduce_of(Context& context, ReduceOp op, Index outer, Index inner, double scale, const T* x, T* y) {
  // Few long rows are worth many blocks each.
  if (outer <= 4 && inner > 64 * 1024) {
    for (Index o = 0; o < outer; ++o)
      reduce_all(
          context,
          "reduction",
          inner,
          0.0,
          [=] __device__(Index i) { return term(op, x[o * inner + i]); },
          Add{},
          [=] __device__(double sum) { y[o] = static_cast<T>(scale * sum); });
    return;
  }
  for_rows(context, "reduction", outer, inner, [=] __device__(const Row& block, Index o) {
    const double sum = block.sum<double>(inner, [&](Index i) { return term(op, x[o * inner + i]); });
    block.once([&] { y[o] = static_cast<T>(scale * sum); });
  });
}

template <class T>
void reduce_backward_of(
    Context& context, ReduceOp op, Index outer, Index inner, double scale, const T* x, const T* dy, T* dx) {
  for_each(context, "reduction", outer * inner, [=] __device__(Index i) {
    const T slope = static_cast<T>(scale * static_cast<double>(dy[i / inner]));
    if (op == ReduceOp::Sum)
      dx[i] = slope;
    else if (op == ReduceOp::SquareSum)
      dx[i] = T(2) * slope * x[i];
    else
      dx[i] = x[i] > T(0) ? slope : (x[i] < T(0) ? -slope : slope * x[i]);
  });
}

template <class T>
void add_sum_of(Context& context, Index count, double factor, const T* x, double* total) {
  reduce_all(
      context,
      "sum",
      count,
      0.0,
      [=] __device__(Index i) { return static_cast<double>(x[i]); },
      Add{},
      [=] __device__(double sum) { *total += factor * sum; });
}

template <class T>
void add_squares_of(Context& context, Index count, const T* x, double* total) {
  reduce_all(
      context,
      "sum of squares",
      count,
      0.0,
      [=] __device__(Index i) { return static_cast<double>(x[i]) * static_cast<double>(x[i]); },
      Add{},
      [=] __device__(double sum) { *total += sum; });
}

void clip_factor_of(Context& context, double limit, double* squares) {
  for_each(context, "clipping", 1, [=] __device__(Index) {
    const double length = std::sqrt(*squares);
    *squares = length > limit ? limit / length : 1;
  });
}

}  // namespace

void CudaBackend::reduce(DType dtype, ReduceOp op, Index outer, Index inner, double scale, const void* x, void* y) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce_of(context_, op, outer, inner, scale, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

void CudaBackend::reduce_backward(
    DType dtype, ReduceOp op, Index outer, Index inner, double scale, const void* x, const void* dy, void* dx) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce_backward_of(
        context_,
        op,
        outer,
        inner,
        scale,
        static_cast<const T*>(x),
        static_cast<const T*>(dy),
        static_cast<T*>(dx));
  });
}

void CudaBackend::add_sum(DType dtype, Index count, double factor, const void* x, double* total) {
  with_type(dtype, [&](auto zero) {
    add_sum_of(context_, count, factor, static_cast<const decltype(zero)*>(x), total);
  });
}

void CudaBackend::add_squares(DType dtype, Index count, const void* x, double* total) {
  with_type(dtype, [&](auto zero) { add_squares_of(context_, count, static_cast<const decltype(zero)*>(x), total); });
}

void CudaBackend::clip_factor(double limit, double* squares) {
  clip_factor_of(context_, limit, squares);
}

}  // namespace sparknet::kernels::cuda
