#include "kernels/cpu/im2col.h"

#include <algorithm>
#include <cstring>

namespace sparknet::kernels::cpu {
namespace {

/// The way of one tap over one channel: pieces of rows.
class Walk {
 public:
  Walk(const WindowShape& shape, Index tap) : s_(shape) {
    pixels_[static_cast<std::size_t>(s_.axes)] = positions_[static_cast<std::size_t>(s_.axes)] = 1;
    for (int axis = s_.axes - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      pixels_[a] = pixels_[a + 1] * s_.size[a];
      positions_[a] = positions_[a + 1] * s_.out(axis);
      begin_[a] = tap % s_.kernel[a] * s_.dilation[a] - s_.pad[a];
      tap /= s_.kernel[a];
    }
  }

  /// Calls inside(pixel, step, position, count) and padding(position, count), and so meets every position.
  template <class Inside, class Padding>
  void run(const Inside& inside, const Padding& padding) const {
    if (s_.axes == 0) return inside(0, 1, 0, 1);
    along(0, 0, 0, inside, padding);
  }

 private:
  template <class Inside, class Padding>
  void along(int axis, Index pixel, Index position, const Inside& inside, const Padding& padding) const {
    const auto a = static_cast<std::size_t>(axis);
    const Index begin = begin_[a], stride = s_.stride[a], size = s_.size[a], out = s_.out(axis);
    // The outputs [first, last) lie in the image.
    const Index first = std::min(out, begin >= 0 ? 0 : (-begin + stride - 1) / stride);
    const Index last = std::max(first, begin >= size ? 0 : std::min(out, (size - 1 - begin) / stride + 1));
    const Index below = positions_[a + 1];
    if (first > 0) padding(position, first * below);
    if (axis == s_.axes - 1) {
      if (last > first) inside(pixel + first * stride + begin, stride, position + first, last - first);
    } else {
      for (Index o = first; o < last; ++o) {
        along(axis + 1, pixel + (o * stride + begin) * pixels_[a + 1], position + o * below, inside, padding);
      }
    }
    if (last < out) padding(position + last * below, (out - last) * below);
  }

  const WindowShape& s_;
  WindowShape::Sizes begin_{};
  std::array<Index, kMaxSpatialAxes + 1> pixels_{}, positions_{};
};

}  // namespace

template <class T>
void im2col(Engine& engine, const WindowShape& shape, const T* x, T* columns) {
  const Index taps = shape.taps(), pixels = shape.pixels(), positions = shape.positions();
  for_ranges(
      engine.team,
      shape.batch * shape.channels * taps,
      1,
      1 + kWorthWaking / positions,
      [&](Index row_begin, Index row_end) {
        for (Index row = row_begin; row < row_end; ++row) {
          const T* const from = x + row / taps * pixels;
          T* const to = columns + row * positions;
          Walk(shape, row % taps)
              .run(
                  [&](Index pixel, Index step, Index position, Index count) {
                    if (step == 1) {
                      std::memcpy(to + position, from + pixel, static_cast<std::size_t>(count) * sizeof(T));
                    } else {
                      for (Index i = 0; i < count; ++i) to[position + i] = from[pixel + i * step];
                    }
                  },
                  [&](Index position, Index count) { std::fill_n(to + position, count, T(0)); });
        }
      });
}

template <class T>
void col2im(Engine& engine, const WindowShape& shape, const T* columns, T* x) {
  const Index taps = shape.taps(), pixels = shape.pixels(), positions = shape.positions();
  for_ranges(
      engine.team,
      shape.batch * shape.channels,
      1,
      1 + kWorthWaking / (positions * taps),
      [&](Index plane_begin, Index plane_end) {
        std::fill(x + plane_begin * pixels, x + plane_end * pixels, T(0));
        for (Index row = plane_begin * taps; row < plane_end * taps; ++row) {
          const T* const from = columns + row * positions;
          T* const to = x + row / taps * pixels;
          Walk(shape, row % taps)
              .run(
                  [&](Index pixel, Index step, Index position, Index count) {
                    for (Index i = 0; i < count; ++i) to[pixel + i * step] += from[position + i];
                  },
                  [](Index, Index) {});
        }
      });
}

template void im2col(Engine&, const WindowShape&, const float*, float*);
template void im2col(Engine&, const WindowShape&, const double*, double*);
template void col2im(Engine&, const WindowShape&, const float*, float*);
template void col2im(Engine&, const WindowShape&, const double*, double*);

}  // namespace sparknet::kernels::cpu
