#include "kernels/cpu/input_gradient.h"

#include <algorithm>
#include <cstring>

namespace sparknet::kernels::cpu {
namespace {

constexpr Index kColumnBytes = 256 * 1024;

/// The convolution that takes dy to dx, if there is one.
std::optional<ConvolutionShape> turned_shape(const ConvolutionShape& s) {
  const Index pad_h = s.dilation_h * (s.kernel_h - 1) - s.pad_h, pad_w = s.dilation_w * (s.kernel_w - 1) - s.pad_w;
  if (s.stride_h != 1 || s.stride_w != 1 || pad_h < 0 || pad_w < 0) return std::nullopt;
  ConvolutionShape t = s;
  t.channels = s.num_output;
  t.num_output = s.channels;
  t.height = s.out_h();
  t.width = s.out_w();
  t.pad_h = pad_h;
  t.pad_w = pad_w;
  return t;
}

}  // namespace

template <class T>
InputGradient<T>::InputGradient(const Engine& engine, const ConvolutionShape& shape)
    : hot_(table<T>(engine)),
      shape_(shape),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      taps_(channels_ * shape.kernel_h * shape.kernel_w) {
  const Index positions = shape.out_h() * shape.out_w();
  // Summing columns costs as much as a few tenths of the product; beyond that the larger product is dearer.
  const auto turned = turned_shape(shape);
  if (turned && static_cast<double>(shape.height * shape.width) <= 1.3 * static_cast<double>(positions)) {
    turned_.emplace(engine, *turned);
    layout_.add(turned_->scratch_size());
    return;
  }
  pitch_ = odd_pitch<T>(positions + hot_.lanes);
  const Index taps = shape.kernel_h * shape.kernel_w;
  block_ = std::clamp<Index>(kColumnBytes / (taps * pitch_ * static_cast<Index>(sizeof(T))), 1, channels_);
  blocks_ = (channels_ + block_ - 1) / block_;
  columns_at_ = layout_.add(block_ * taps * pitch_ + 2 * hot_.lanes);
  gradient_pitch_ = odd_pitch<T>(positions + 2 * hot_.lanes);
  gradient_at_ = layout_.add(outputs_ * gradient_pitch_);
  for (Index o = 0; o < outputs_; ++o) gradient_offsets_.push_back(static_cast<std::int32_t>(o * gradient_pitch_));

  const Index reach = (shape.kernel_w - 1) * shape.dilation_w + shape.width + shape.pad_w;
  mask_.assign(static_cast<std::size_t>(2 * (reach + hot_.lanes) + shape.out_w()), T(0));
  T ones;
  std::memset(&ones, 0xff, sizeof ones);
  mask_begin_ = reach + hot_.lanes;
  for (Index i = 0; i < shape.out_w(); ++i) {
    std::memcpy(&mask_[static_cast<std::size_t>(mask_begin_ + i)], &ones, sizeof ones);
  }
}

template <class T>
void InputGradient<T>::turn(Index c, const T* weights, T* turned_weights) const {
  if (!turned_) return;
  const Index taps = shape_.kernel_h * shape_.kernel_w;
  const Index group = c / channels_, channel = c % channels_;
  T* to = turned_weights + c * outputs_ * taps;
  for (Index o = 0; o < outputs_; ++o) {
    const T* const from = weights + (group * outputs_ + o) * taps_ + channel * taps;
    for (Index t = taps - 1; t >= 0; --t) *to++ = from[t];
  }
}

template <class T>
void InputGradient<T>::run(
    Index image, Share pieces, const T* weights, const T* turned_weights, T* dy, T* dx, T* scratch) const {
  if (turned_) {
    for (Index piece = pieces.begin; piece < pieces.end; ++piece) {
      turned_->run(image, piece, dy, turned_weights, nullptr, Activation{}, dx, scratch);
    }
    return;
  }
  const Index taps = shape_.kernel_h * shape_.kernel_w;
  const Index pixels = shape_.height * shape_.width, positions = shape_.out_h() * shape_.out_w();
  T* const columns = scratch + columns_at_ + hot_.lanes;
  T* const gradient = scratch + gradient_at_;
  Index copied = -1;
  for (Index piece = pieces.begin; piece < pieces.end; ++piece) {
    const Index number = image * shape_.group + piece / blocks_, c = piece % blocks_ * block_;
    const Index n = std::min(block_, channels_ - c);
    if (number != copied) {
      T* const from = dy + number * outputs_ * positions;
      hot_.gradient({outputs_, positions, from, nullptr, positions, T(0), gradient, gradient_pitch_, nullptr});
      copied = number;
    }
    TileArgs<T> args{};
    args.columns = round_up(positions, hot_.lanes);
    args.k = outputs_;
    args.a = weights + piece / blocks_ * outputs_ * taps_ + c * taps;
    args.lda = taps_;
    args.b = gradient;
    args.offsets = gradient_offsets_.data();
    args.c = columns;
    args.ldc = pitch_;
    run_panels(hot_, hot_.tiles_packed, args, n * taps, 1);
    fold(n, columns, dx + (number * channels_ + c) * pixels);
  }
}

template <class T>
void InputGradient<T>::fold(Index channels, const T* columns, T* dx) const {
  const ConvolutionShape& s = shape_;
  const Index out_h = s.out_h(), out_w = s.out_w();
  if (s.stride_h == 1 && s.stride_w == 1) {
    hot_.fold(
        {columns,
         pitch_,
         channels,
         s.height,
         s.width,
         out_h,
         out_w,
         s.kernel_h,
         s.kernel_w,
         s.pad_h,
         s.pad_w,
         s.dilation_h,
         s.dilation_w,
         mask_.data() + mask_begin_,
         dx});
    return;
  }
  std::fill_n(dx, channels * s.height * s.width, T(0));
  for (Index c = 0; c < channels; ++c, dx += s.height * s.width) {
    for (Index kh = 0; kh < s.kernel_h; ++kh) {
      for (Index kw = 0; kw < s.kernel_w; ++kw, columns += pitch_) {
        for (Index oh = 0; oh < out_h; ++oh) {
          const Index h = oh * s.stride_h - s.pad_h + kh * s.dilation_h;
          if (h < 0 || h >= s.height) continue;
          for (Index ow = 0; ow < out_w; ++ow) {
            const Index w = ow * s.stride_w - s.pad_w + kw * s.dilation_w;
            if (w >= 0 && w < s.width) dx[h * s.width + w] += columns[oh * out_w + ow];
          }
        }
      }
    }
  }
}

template class InputGradient<float>;
template class InputGradient<double>;

}  // namespace sparknet::kernels::cpu
