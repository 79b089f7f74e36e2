#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// Of two numbers the larger one; NaN stays.
template <class T>
struct Larger {
  __device__ T operator()(T a, T b) const { return a >= b || a != a ? a : b; }
};

// Neighbouring distributions are worked on by neighbouring threads where their elements are not neighbours themselves.

template <class T>
void softmax_of(Context& context, const SoftmaxShape& shape, const T* x, T* y) {
  const Index classes = shape.classes, inner = shape.inner, count = shape.outer * inner;
  if (classes == 0) return;
  if (inner == 1) {
    for_rows(context, "softmax", count, classes, [=] __device__(const Row& block, Index row) {
      const T* const from = x + row * classes;
      T* const to = y + row * classes;
      const T largest = block.reduce(
          classes,
          from[0],
          [&](Index j) { return from[j]; },
          Larger<T>{});
      block.each(classes, [&](Index j) { to[j] = std::exp(from[j] - largest); });
      const double sum = block.sum<double>(classes, [&](Index j) { return static_cast<double>(to[j]); });
      block.each(classes, [&](Index j) { to[j] = static_cast<T>(static_cast<double>(to[j]) / sum); });
    });
    return;
  }
  for_each(context, "softmax", count, [=] __device__(Index i) {
    const Index first = i / inner * classes * inner + i % inner;
    T largest = x[first];
    for (Index j = 1; j < classes; ++j) largest = Larger<T>{}(largest, x[first + j * inner]);
    double sum = 0;
    for (Index j = 0; j < classes; ++j) {
      const T power = std::exp(x[first + j * inner] - largest);
      y[first + j * inner] = power;
      sum += static_cast<double>(power);
    }
    for (Index j = 0; j < classes; ++j)
      y[first + j * inner] = static_cast<T>(static_cast<double>(y[first + j * inner]) / sum);
  });
}

template <class T>
void softmax_backward_of(Context& context, const SoftmaxShape& shape, const T* y, const T* dy, T* dx) {
  const Index classes = shape.classes, inner = shape.inner, count = shape.outer * inner;
  if (inner == 1) {
    for_rows(context, "gradient of a softmax", count, classes, [=] __device__(const Row& block, Index row) {
      const Index first = row * classes;
      const T dot = static_cast<T>(block.sum<double>(classes, [&](Index j) {
        return static_cast<double>(dy[first + j]) * static_cast<double>(y[first + j]);
      }));
      block.each(classes, [&](Index j) { dx[first + j] = (dy[first + j] - dot) * y[first + j]; });
    });
    return;
  }
  for_each(context, "gradient of a softmax", count, [=] __device__(Index i) {
    const Index first = i / inner * classes * inner + i % inner, end = first + classes * inner;
    double sum = 0;
    for (Index j = first; j < end; j += inner) sum += static_cast<double>(dy[j]) * static_cast<double>(y[j]);
    const T dot = static_cast<T>(sum);
    for (Index j = first; j < end; j += inner) dx[j] = (dy[j] - dot) * y[j];
  });
}

}  // namespace

void CudaBackend::softmax(DType dtype, const SoftmaxShape& shape, const void* x, void* y) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    softmax_of(context_, shape, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

void CudaBackend::softmax_backward(DType dtype, const SoftmaxShape& shape, const void* y, const void* dy, void* dx) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    softmax_backward_of(context_, shape, static_cast<const T*>(y), static_cast<const T*>(dy), static_cast<T*>(dx));
  });
}

}  // namespace sparknet::kernels::cuda
