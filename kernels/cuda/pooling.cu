#include <limits>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/divider.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/philox.h"

namespace sparknet::kernels::cuda {
namespace {

/// A window, clipped to the image: its rows and columns, and where it begins before that.
struct Window {
  Index top, left, h0, h1, w0, w1;

  __device__ bool is_empty() const { return h0 >= h1 || w0 >= w1; }
};

/// Where output or pixel number i of all lies: its plane, its number there, and where the plane begins.
struct Place {
  Index plane, number, first_pixel, first_output;
};

/// Indices of a plane fit 32 bits; those of all planes need not.
struct Geometry {
  PoolingShape s;
  Index pixels, outputs, planes;
  /// Between the elements of a plane.
  Index step;
  Divider by_pixels, by_width, by_outputs, by_out_w, by_channels;
  bool small;

  explicit Geometry(const PoolingShape& shape)
      : s(shape),
        pixels(shape.height * shape.width),
        outputs(shape.out_h * shape.out_w),
        planes(shape.batch * shape.channels),
        step(shape.nhwc ? shape.channels : 1),
        by_pixels(pixels),
        by_width(shape.width),
        by_outputs(outputs),
        by_out_w(shape.out_w),
        by_channels(shape.channels),
        small(Divider::can_divide(planes * pixels) && Divider::can_divide(planes * outputs)) {}

  __device__ Index quotient(Index i, const Divider& by, Index divisor) const {
    return small ? static_cast<Index>(by.quotient(static_cast<std::uint32_t>(i))) : i / divisor;
  }
  /// Of number i, where a plane has so many.
  __device__ Place place(Index i, const Divider& by_size, Index size) const {
    if (!s.nhwc) {
      const Index plane = quotient(i, by_size, size);
      return {plane, i - plane * size, plane * pixels, plane * outputs};
    }
    const Index row = quotient(i, by_channels, s.channels), channel = i - row * s.channels;
    const Index image = quotient(row, by_size, size), first = image * s.channels;
    return {first + channel, row - image * size, first * pixels + channel, first * outputs + channel};
  }
  __device__ Place of_output(Index i) const { return place(i, by_outputs, outputs); }
  __device__ Place of_pixel(Index i) const { return place(i, by_pixels, pixels); }
  /// Of output number `output` of a plane.
  __device__ Window window(Index output) const {
    const Index oh = by_out_w.quotient(static_cast<std::uint32_t>(output)), ow = output - oh * s.out_w;
    Window w{};
    w.top = oh * s.stride_h - s.pad_h, w.left = ow * s.stride_w - s.pad_w;
    w.h0 = w.top < 0 ? 0 : w.top, w.w0 = w.left < 0 ? 0 : w.left;
    w.h1 = w.top + s.kernel_h < s.height ? w.top + s.kernel_h : s.height;
    w.w1 = w.left + s.kernel_w < s.width ? w.left + s.kernel_w : s.width;
    return w;
  }
  /// What the average of a window is divided by: its area, clipped to the padded image.
  __device__ Index area(const Window& w) const {
    const Index bottom = w.top + s.kernel_h, right = w.left + s.kernel_w;
    return ((bottom < s.height + s.pad_h ? bottom : s.height + s.pad_h) - w.top) *
           ((right < s.width + s.pad_w ? right : s.width + s.pad_w) - w.left);
  }

  /// The sum of f(output of the plane, the element's number in that window) over the windows that hold a pixel.
  template <class T, class F>
  __device__ T over_windows(Index pixel, const F& f) const {
    const Index row = by_width.quotient(static_cast<std::uint32_t>(pixel)), column = pixel - row * s.width;
    const Index h = row + s.pad_h, w = column + s.pad_w;
    const Index oh0 = h < s.kernel_h ? 0 : (h - s.kernel_h) / s.stride_h + 1;
    const Index ow0 = w < s.kernel_w ? 0 : (w - s.kernel_w) / s.stride_w + 1;
    const Index oh1 = h / s.stride_h + 1 < s.out_h ? h / s.stride_h + 1 : s.out_h;
    const Index ow1 = w / s.stride_w + 1 < s.out_w ? w / s.stride_w + 1 : s.out_w;
    T sum = 0;
    for (Index oh = oh0; oh < oh1; ++oh)
      for (Index ow = ow0; ow < ow1; ++ow)
        sum += f(oh * s.out_w + ow, (h - oh * s.stride_h) * s.kernel_w + w - ow * s.stride_w);
    return sum;
  }
};

/// The number in a window that no element has.
template <class Tap>
constexpr Tap kNone = std::numeric_limits<Tap>::max();

template <class T, class Tap, class A = Arithmetic<T>>
void max_forward(Context& context, const Geometry& g, const T* x, T* y, Tap* taps) {
  for_each(context, "max pooling", g.planes * g.outputs, [=] __device__(Index i) {
    const Place place = g.of_output(i);
    const Window w = g.window(place.number);
    const T* const from = x + place.first_pixel;
    Index winner = w.is_empty() ? -1 : w.h0 * g.s.width + w.w0;
    A best = w.is_empty() ? A(0) : from[winner * g.step];
    for (Index h = w.h0; h < w.h1; ++h)
      for (Index column = w.w0; column < w.w1; ++column) {
        const A value = from[(h * g.s.width + column) * g.step];
        // NaN beats everything and nothing beats NaN.
        if (!(value > best || value != value)) continue;
        winner = h * g.s.width + column;
        best = value;
      }
    y[i] = static_cast<T>(best);
    if (!taps) return;
    const Index row = winner / g.s.width, column = winner - row * g.s.width;
    taps[i] = winner < 0 ? kNone<Tap> : static_cast<Tap>((row - w.top) * g.s.kernel_w + column - w.left);
  });
}

template <class T, class Tap, class A = Arithmetic<T>>
void winners_backward(Context& context, const Geometry& g, const T* dy, const Tap* taps, T* dx) {
  for_each(context, "gradient of a pooling", g.planes * g.pixels, [=] __device__(Index i) {
    const Place place = g.of_pixel(i);
    const A sum = g.over_windows<A>(place.number, [&](Index output, Index tap) {
      const Index at = place.first_output + output * g.step;
      return taps[at] == static_cast<Tap>(tap) ? dy[at] : A(0);
    });
    dx[i] = static_cast<T>(sum);
  });
}

template <class T, class Tap>
void places_of(Context& context, const Geometry& g, const Tap* taps, T* y) {
  for_each(context, "places of a pooling", g.planes * g.outputs, [=] __device__(Index i) {
    const Window w = g.window(g.of_output(i).number);
    const Index tap = taps[i], row = tap / g.s.kernel_w, column = tap - row * g.s.kernel_w;
    y[i] = taps[i] == kNone<Tap> ? T(-1) : static_cast<T>((w.top + row) * g.s.width + w.left + column);
  });
}

template <class T, class A = Arithmetic<T>>
void average_forward(Context& context, const Geometry& g, const T* x, T* y) {
  for_each(context, "average pooling", g.planes * g.outputs, [=] __device__(Index i) {
    const Place place = g.of_output(i);
    const Window w = g.window(place.number);
    const T* const from = x + place.first_pixel;
    A sum = 0;
    for (Index h = w.h0; h < w.h1; ++h)
      for (Index column = w.w0; column < w.w1; ++column) sum += from[(h * g.s.width + column) * g.step];
    y[i] = static_cast<T>(sum / static_cast<A>(g.area(w)));
  });
}

template <class T, class A = Arithmetic<T>>
void average_backward(Context& context, const Geometry& g, const T* dy, T* dx) {
  for_each(context, "gradient of an average pooling", g.planes * g.pixels, [=] __device__(Index i) {
    const Place place = g.of_pixel(i);
    const A sum = g.over_windows<A>(place.number, [&](Index output, Index) {
      return dy[place.first_output + output * g.step] / static_cast<A>(g.area(g.window(output)));
    });
    dx[i] = static_cast<T>(sum);
  });
}

template <class T, class A = Arithmetic<T>>
void stochastic_forward(Context& context, const Geometry& g, const T* x, T* y) {
  for_each(context, "stochastic pooling", g.planes * g.outputs, [=] __device__(Index i) {
    const Place place = g.of_output(i);
    const Window w = g.window(place.number);
    const T* const from = x + place.first_pixel;
    A sum = 0, squares = 0;
    for (Index h = w.h0; h < w.h1; ++h)
      for (Index column = w.w0; column < w.w1; ++column) {
        const A value = from[(h * g.s.width + column) * g.step];
        sum += value;
        squares += value * value;
      }
    // NaN is to stay, and is not above 0.
    y[i] = static_cast<T>(sum > A(0) || sum != sum ? squares / sum : A(0));
  });
}

template <class T, class Tap>
void stochastic_draw(Context& context, const Geometry& g, const RandomWords& words, const T* x, T* y, Tap* taps) {
  const auto draw = [=] __device__(Index i) {
    const Place place = g.of_output(i);
    const Window w = g.window(place.number);
    const T* const from = x + place.first_pixel;
    double sum = 0;
    for (Index h = w.h0; h < w.h1; ++h)
      for (Index column = w.w0; column < w.w1; ++column)
        sum += static_cast<double>(from[(h * g.s.width + column) * g.step]);
    const std::uint64_t number = words.first + static_cast<std::uint64_t>(place.plane * g.outputs + place.number);
    // In (0, 1], so that what is 0 is never taken where something else is not.
    const double u = (philox(words.seed, words.sequence, number / 4).word[number % 4] + 1.0) / 4294967296.0;
    // The first element that brings the sum up to the threshold; the last one where none does (NaN).
    Index row = w.h1 - 1, chosen = w.w1 - 1;
    double part = 0;
    bool found = false;
    for (Index h = w.h0; h < w.h1 && !found; ++h)
      for (Index column = w.w0; column < w.w1 && !found; ++column) {
        part += static_cast<double>(from[(h * g.s.width + column) * g.step]);
        found = part >= u * sum;
        if (found) row = h, chosen = column;
      }
    y[i] = from[(row * g.s.width + chosen) * g.step];
    taps[i] = static_cast<Tap>((row - w.top) * g.s.kernel_w + chosen - w.left);
  };
  for_each(context, "stochastic pooling", g.planes * g.outputs, draw, true);
}

template <class T, class Tap>
class PoolingPlan final : public Pooling {
 public:
  PoolingPlan(Context& context, const PoolingShape& shape, PoolMethod method)
      : context_(context), geometry_(shape), method_(method) {}

  std::size_t mask_bytes() const override {
    if (method_ == PoolMethod::Average) return 0;
    return static_cast<std::size_t>(geometry_.planes * geometry_.outputs) * sizeof(Tap);
  }

  void forward(const void* x, void* y, void* mask) override {
    const T* const from = static_cast<const T*>(x);
    T* const to = static_cast<T*>(y);
    switch (method_) {
      case PoolMethod::Max: return max_forward(context_, geometry_, from, to, static_cast<Tap*>(mask));
      case PoolMethod::Average: return average_forward(context_, geometry_, from, to);
      case PoolMethod::Stochastic: return stochastic_forward(context_, geometry_, from, to);
    }
  }

  void forward_random(const void* x, void* y, void* mask, const RandomWords& words) override {
    if (method_ != PoolMethod::Stochastic) return forward(x, y, mask);
    stochastic_draw(context_, geometry_, words, static_cast<const T*>(x), static_cast<T*>(y), static_cast<Tap*>(mask));
  }

  void backward(const void* dy, const void* mask, void* dx) override {
    const T* const from = static_cast<const T*>(dy);
    T* const to = static_cast<T*>(dx);
    if (method_ == PoolMethod::Average)
      average_backward(context_, geometry_, from, to);
    else
      winners_backward(context_, geometry_, from, static_cast<const Tap*>(mask), to);
  }

  void places(const void* mask, void* y) const override {
    places_of(context_, geometry_, static_cast<const Tap*>(mask), static_cast<Arithmetic<T>*>(y));
  }

 private:
  Context& context_;
  Geometry geometry_;
  PoolMethod method_;
};

template <class T>
std::unique_ptr<Pooling> plan(Context& context, const PoolingShape& shape, PoolMethod method) {
  // A byte tells the winner of all but the largest windows.
  if (shape.kernel_h * shape.kernel_w < kNone<std::uint8_t>)
    return std::make_unique<PoolingPlan<T, std::uint8_t>>(context, shape, method);
  return std::make_unique<PoolingPlan<T, std::int32_t>>(context, shape, method);
}

}  // namespace

std::unique_ptr<Pooling> CudaBackend::pooling(DType dtype, const PoolingShape& shape, PoolMethod method) {
  std::unique_ptr<Pooling> made;
  with_blob_type(dtype, [&](auto zero) { made = plan<decltype(zero)>(context_, shape, method); });
  return made;
}

}  // namespace sparknet::kernels::cuda
