#include "kernels/cpu/window.h"

#include <algorithm>
#include <cstring>

namespace sparknet::kernels::cpu {
namespace {

// Half of a second-level cache of today.
constexpr Index kBandBytes = 512 * 1024;

}  // namespace

template <class T>
Window<T>::Window(const ConvolutionShape& shape, Index lanes, Index row_bytes, Index min_bands)
    : shape_(shape),
      lanes_(lanes),
      channels_(shape.channels / shape.group),
      out_h_(shape.out_h()),
      out_w_(shape.out_w()),
      padded_width_(shape.width + 2 * shape.pad_w) {
  const Index reach = (shape.kernel_h - 1) * shape.dilation_h;
  const Index stride = shape.stride_h;

  // Remainders that some tap meets, numbered as they come.
  std::vector<Index> number(static_cast<std::size_t>(stride), -1), used;
  for (Index kh = 0; kh < shape.kernel_h; ++kh) {
    const Index remainder = kh * shape.dilation_h % stride;
    Index& slot = number[static_cast<std::size_t>(remainder)];
    if (slot < 0) {
      slot = static_cast<Index>(used.size());
      used.push_back(remainder);
    }
  }
  const Index halo = reach / stride, slots = static_cast<Index>(used.size());

  const Index fitting = kBandBytes / std::max<Index>(1, row_bytes * slots) - halo;
  const Index wanted = std::max(min_bands, (out_h_ + std::max<Index>(1, fitting) - 1) / std::max<Index>(1, fitting));
  bands_ = std::min(out_h_, wanted);
  max_rows_ = (out_h_ + bands_ - 1) / bands_;

  const Index each = max_rows_ + halo;
  const Index last = *std::max_element(used.begin(), used.end());
  padded_rows_ = (each - 1) * stride + last + 1;
  for (const Index remainder : used) {
    for (Index i = 0; i < each; ++i) {
      rows_.push_back(static_cast<std::int32_t>((i * stride + remainder) * padded_width_));
    }
  }
  for (Index kh = 0; kh < shape.kernel_h; ++kh) {
    const Index offset = kh * shape.dilation_h;
    tap_rows_.push_back(number[static_cast<std::size_t>(offset % stride)] * each + offset / stride);
  }
}

template <class T>
Index Window<T>::buffer_size() const {
  return channels_ * padded_rows_ * padded_width_ + lanes_;
}

template <class T>
typename Window<T>::Source Window<T>::source(const T* x, Index behind, Index band, T* buffer) const {
  const Index height = shape_.height, width = shape_.width;
  const Index top = band_begin(band) * shape_.stride_h - shape_.pad_h;
  if (shape_.pad_h == 0 && shape_.pad_w == 0 && shape_.stride_h == 1 && behind >= lanes_) {
    const Index missing = max_rows_ - band_rows(band);
    return {x + top * width, height * width, rows_.data(), row_count() - missing};
  }
  T* to = buffer;
  const auto pad = static_cast<std::size_t>(shape_.pad_w);
  for (Index c = 0; c < channels_; ++c) {
    for (Index r = 0; r < padded_rows_; ++r, to += padded_width_) {
      const Index h = top + r;
      if (h < 0 || h >= height) {
        std::fill_n(to, padded_width_, T(0));
      } else {
        std::fill_n(to, pad, T(0));
        std::memcpy(to + pad, x + (c * height + h) * width, static_cast<std::size_t>(width) * sizeof(T));
        std::fill_n(to + pad + width, pad, T(0));
      }
    }
  }
  return {buffer, padded_rows_ * padded_width_, rows_.data(), row_count()};
}

template class Window<float>;
template class Window<double>;

}  // namespace sparknet::kernels::cpu
