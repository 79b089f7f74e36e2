#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {
namespace {

Index unrolled_row_bytes(const ConvolutionShape& shape, std::size_t element) {
  return shape.channels / shape.group * shape.kernel_w * shape.out_w() * static_cast<Index>(element);
}

}  // namespace

template <class T>
Correlation<T>::Correlation(const Engine& engine, const ConvolutionShape& shape)
    : hot_(table<T>(engine)),
      shape_(shape),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      taps_(channels_ * shape.kernel_h * shape.kernel_w),
      positions_(shape.out_h() * shape.out_w()),
      window_(
          shape, hot_.lanes, unrolled_row_bytes(shape, sizeof(T)),
          (engine.team.size() + shape.batch * shape.group - 1) / (shape.batch * shape.group)),
      // A tile may read one vector too far, and the last row written to spills over by as much.
      pitch_(odd_pitch<T>(window_.row_count() * shape.out_w() + 2 * hot_.lanes)) {
  pixelwise_ = shape.kernel_h == 1 && shape.kernel_w == 1 && shape.stride_h == 1 && shape.stride_w == 1 &&
               shape.pad_h == 0 && shape.pad_w == 0 && channels_ * positions_ < (Index{1} << 31);
  padded_at_ = layout_.add(window_.buffer_size());
  unrolled_at_ = layout_.add(channels_ * shape.kernel_w * pitch_);
  offsets_.reserve(static_cast<std::size_t>(taps_));
  for (Index c = 0; c < channels_; ++c) {
    for (Index kh = 0; kh < shape.kernel_h; ++kh) {
      for (Index kw = 0; kw < shape.kernel_w; ++kw) {
        const Index offset = (c * shape.kernel_w + kw) * pitch_ + window_.tap_row(kh) * shape.out_w();
        offsets_.push_back(static_cast<std::int32_t>(offset));
      }
    }
  }
  if (pixelwise_) {
    for (Index c = 0; c < channels_; ++c) offsets_.push_back(static_cast<std::int32_t>(c * positions_));
  }
}

template <class T>
void Correlation<T>::run(
    Index image, Index piece, const T* x, const T* weights, const T* bias, Activation activation, T* y,
    T* scratch) const {
  const Index group = piece / window_.bands(), band = piece % window_.bands();
  const Index number = image * shape_.group + group;
  const Index pixels = shape_.height * shape_.width;
  const Index behind = (shape_.batch * shape_.group - 1 - number) * channels_ * pixels;
  const T* const input = x + number * channels_ * pixels;

  TileArgs<T> args{};
  args.columns = window_.band_rows(band) * shape_.out_w();
  const Index first = window_.band_begin(band) * shape_.out_w();
  if (pixelwise_ && (behind >= hot_.lanes || args.columns % hot_.lanes == 0)) {
    args.b = input + first;
    args.offsets = offsets_.data() + taps_;
  } else {
    const auto source = window_.source(input, behind, band, scratch + padded_at_);
    T* const unrolled = scratch + unrolled_at_;
    hot_.unroll(
        {source.data,
         channels_,
         source.plane,
         shape_.kernel_w,
         shape_.dilation_w,
         shape_.stride_w,
         source.rows,
         source.row_count,
         shape_.out_w(),
         unrolled,
         pitch_});
    args.b = unrolled;
    args.offsets = offsets_.data();
  }
  args.k = taps_;
  args.a = weights + group * outputs_ * taps_;
  args.lda = taps_;
  args.c = y + number * outputs_ * positions_ + first;
  args.ldc = positions_;
  args.bias = bias ? bias + group * outputs_ : nullptr;
  args.relu = activation.relu;
  args.slope = static_cast<T>(activation.negative_slope);
  run_panels(hot_, hot_.tiles_rows, args, outputs_, taps_);
}

template class Correlation<float>;
template class Correlation<double>;

}  // namespace sparknet::kernels::cpu
