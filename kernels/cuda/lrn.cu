#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// Channels that a thread works on, so that the windows of one are in its cache when it comes to the next.
constexpr Index kChunk = 16;

/// An LrnShape and what follows from it.
template <class T>
struct Windows {
  Index channels, height, width, pixels, size;
  /// Between the channels of a pixel, and the pixels of a channel.
  Index channel_step, pixel_step;
  T alpha, beta, k;

  Windows(const LrnShape& shape, Index window)
      : channels(shape.channels),
        height(shape.height),
        width(shape.width),
        pixels(shape.height * shape.width),
        size(shape.local_size),
        channel_step(shape.nhwc ? 1 : pixels),
        pixel_step(shape.nhwc ? channels : 1),
        alpha(static_cast<T>(shape.alpha / static_cast<double>(window))),
        beta(static_cast<T>(shape.beta)),
        k(static_cast<T>(shape.k)) {}

  /// x * state^-beta; the usual exponents by square roots.
  __device__ T scaled(T x, T state) const {
    if (beta == T(0.75)) {
      const T root = std::sqrt(state);
      return x / (root * std::sqrt(root));
    }
    if (beta == T(1)) return x / state;
    if (beta == T(0.5)) return x / std::sqrt(state);
    return x * std::pow(state, -beta);
  }

  /// The sum of load(element) over the window of a channel that begins `before` channels earlier; `first_of_pixel` is
  /// the pixel's element of the first channel.
  template <class Load>
  __device__ T across(Index first_of_pixel, Index c, Index before, const Load& load) const {
    const Index first = c - before < 0 ? 0 : c - before, end = c - before + size;
    const Index last = end < channels ? end : channels;
    T sum = 0;
    for (Index other = first; other < last; ++other) sum += load(first_of_pixel + other * channel_step);
    return sum;
  }

  /// The same over a window of a plane; `plane` is its first element.
  template <class Load>
  __device__ T within(Index plane, Index pixel, Index before, const Load& load) const {
    const Index row = pixel / width - before, column = pixel % width - before;
    T sum = 0;
    for (Index r = row < 0 ? 0 : row; r < row + size && r < height; ++r)
      for (Index q = column < 0 ? 0 : column; q < column + size && q < width; ++q)
        sum += load(plane + (r * width + q) * pixel_step);
    return sum;
  }
};

/// Calls f(element, pixel, the first element of its plane) for all elements.
template <class T, class F>
void for_planes(Context& context, const char* what, Index planes, const Windows<T>& w, const F& f) {
  for_each(context, what, planes * w.pixels, [=] __device__(Index at) {
    const Index pixel = at / w.pixel_step % w.pixels;
    f(at, pixel, at - pixel * w.pixel_step);
  });
}

/// Calls f(the pixel's element of the first channel, channel) for all elements.
template <class T, class F>
void for_pixels(Context& context, const char* what, Index batch, const Windows<T>& w, const F& f) {
  if (w.channel_step == 1) {
    for_each(context, what, batch * w.pixels * w.channels, [=] __device__(Index i) {
      const Index c = i % w.channels;
      f(i - c, c);
    });
    return;
  }
  const Index chunks = (w.channels + kChunk - 1) / kChunk;
  for_each(context, what, batch * chunks * w.pixels, [=] __device__(Index i) {
    const Index pixel = i % w.pixels, chunk = i / w.pixels % chunks, image = i / w.pixels / chunks;
    const Index first = chunk * kChunk, last = first + kChunk < w.channels ? first + kChunk : w.channels;
    for (Index c = first; c < last; ++c) f(image * w.channels * w.pixels + pixel, c);
  });
}

template <class T, class A = Arithmetic<T>>
void across_forward(Context& context, Index batch, const Windows<A>& w, const T* x, T* y, A* state) {
  const Index before = (w.size - 1) / 2;
  for_pixels(context, "LRN", batch, w, [=] __device__(Index pixel, Index c) {
    const A sum = w.k + w.alpha * w.across(pixel, c, before, [&](Index i) { return x[i] * x[i]; });
    const Index at = pixel + c * w.channel_step;
    state[at] = sum;
    y[at] = static_cast<T>(w.scaled(x[at], sum));
  });
}

template <class T, class A = Arithmetic<T>>
void across_backward(
    Context& context, Index batch, const Windows<A>& w, const T* x, const T* y, const A* state, const T* dy, T* dx) {
  // The windows that hold a channel reach as far behind it as its own reaches before it.
  const Index before = w.size - 1 - (w.size - 1) / 2;
  const A factor = A(-2) * w.alpha * w.beta;
  for_pixels(context, "gradient of an LRN", batch, w, [=] __device__(Index pixel, Index c) {
    const A spread = w.across(pixel, c, before, [&](Index i) { return dy[i] * y[i] / state[i]; });
    const Index at = pixel + c * w.channel_step;
    dx[at] = static_cast<T>(w.scaled(dy[at], state[at]) + factor * x[at] * spread);
  });
}

template <class T, class A = Arithmetic<T>>
void within_forward(Context& context, Index planes, const Windows<A>& w, const T* x, T* y, A* state) {
  const Index before = (w.size - 1) / 2;
  for_planes(context, "LRN", planes, w, [=] __device__(Index at, Index pixel, Index plane) {
    const A sum = w.k + w.alpha * w.within(plane, pixel, before, [&](Index i) { return x[i] * x[i]; });
    state[at] = sum;
    y[at] = static_cast<T>(w.scaled(x[at], sum));
  });
}

template <class T, class A = Arithmetic<T>>
void within_backward(
    Context& context, Index planes, const Windows<A>& w, const T* x, const T* y, const A* state, const T* dy, T* dx) {
  const Index before = w.size - 1 - (w.size - 1) / 2;
  const A factor = A(-2) * w.alpha * w.beta;
  for_planes(context, "gradient of an LRN", planes, w, [=] __device__(Index at, Index pixel, Index plane) {
    const A spread = w.within(plane, pixel, before, [&](Index i) { return dy[i] * y[i] / state[i]; });
    dx[at] = static_cast<T>(w.scaled(dy[at], state[at]) + factor * x[at] * spread);
  });
}

template <class T, class A = Arithmetic<T>>
class LrnPlan final : public Lrn {
 public:
  LrnPlan(Context& context, const LrnShape& shape)
      : context_(context),
        shape_(shape),
        is_across_(shape.region == LrnRegion::AcrossChannels),
        windows_(shape, is_across_ ? shape.local_size : shape.local_size * shape.local_size) {}

  std::size_t state_bytes() const override {
    return static_cast<std::size_t>(shape_.batch * shape_.channels * windows_.pixels) * sizeof(A);
  }

  void forward(const void* x, void* y, void* state) override {
    if (is_across_)
      across_forward(context_, shape_.batch, windows_, in<T>(x), static_cast<T*>(y), static_cast<A*>(state));
    else
      within_forward(
          context_,
          shape_.batch * shape_.channels,
          windows_,
          in<T>(x),
          static_cast<T*>(y),
          static_cast<A*>(state));
  }

  void backward(const void* x, const void* y, const void* state, const void* dy, void* dx) override {
    T* const to = static_cast<T*>(dx);
    if (is_across_)
      across_backward(context_, shape_.batch, windows_, in<T>(x), in<T>(y), in<A>(state), in<T>(dy), to);
    else
      within_backward(
          context_,
          shape_.batch * shape_.channels,
          windows_,
          in<T>(x),
          in<T>(y),
          in<A>(state),
          in<T>(dy),
          to);
  }

 private:
  Context& context_;
  LrnShape shape_;
  bool is_across_;
  Windows<A> windows_;
};

}  // namespace

std::unique_ptr<Lrn> CudaBackend::lrn(DType dtype, const LrnShape& shape) {
  std::unique_ptr<Lrn> made;
  with_blob_type(dtype, [&](auto zero) { made = std::make_unique<LrnPlan<decltype(zero)>>(context_, shape); });
  return made;
}

}  // namespace sparknet::kernels::cuda
