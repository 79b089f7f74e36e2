#include "kernels/cpu/weight_gradient.h"

#include <algorithm>

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {

template <class T>
bool WeightGradient<T>::by_rows(const ConvolutionShape& shape, Index lanes) {
  // Cycles for one image, at two vector operations in a cycle and about 1.5 cycles for each segment of a patch.
  const Index channels = shape.channels / shape.group, outputs = shape.num_output / shape.group;
  const auto cycles = [&](Index parts, Index length, Index input_rows, Index segments) {
    const Index vectors = (length + lanes - 1) / lanes;
    const auto products = static_cast<double>(parts * vectors * outputs * shape.out_h() * shape.out_w());
    return products / 2 + 1.5 * static_cast<double>(input_rows * shape.out_w() * segments);
  };
  const Index input_rows = (shape.out_h() - 1) * std::min(shape.stride_h, shape.kernel_h) + shape.kernel_h;
  return cycles(shape.kernel_h, channels * shape.kernel_w, input_rows, channels) <
         cycles(1, channels * shape.kernel_h * shape.kernel_w, shape.out_h(), channels * shape.kernel_h);
}

template <class T>
WeightGradient<T>::WeightGradient(const Engine& engine, const ConvolutionShape& shape, bool whole)
    : hot_(table<T>(engine)),
      shape_(shape),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      taps_(channels_ * shape.kernel_h * shape.kernel_w),
      positions_(shape.out_h() * shape.out_w()),
      rows_(by_rows(shape, hot_.lanes)),
      parts_(rows_ ? shape.kernel_h : 1),
      length_(taps_ / parts_),
      window_(shape, hot_.lanes, whole ? 0 : length_ * shape.out_w() * static_cast<Index>(sizeof(T)), 1),
      patch_pitch_(odd_pitch<T>(length_ + hot_.lanes)),
      sum_pitch_(round_up(length_, hot_.lanes)),
      gradient_pitch_(odd_pitch<T>(window_.band_positions() + 2 * hot_.lanes)) {
  const Index patch_count = rows_ ? window_.row_count() * shape.out_w() : window_.band_positions();
  padded_at_ = layout_.add(window_.buffer_size());
  patches_at_ = layout_.add(patch_count * patch_pitch_ + hot_.lanes);
  gradient_at_ = layout_.add(outputs_ * gradient_pitch_);
  for (Index p = 0; p < window_.band_positions(); ++p) offsets_.push_back(static_cast<std::int32_t>(p * patch_pitch_));
}

template <class T>
void WeightGradient<T>::run(Index image, const T* x, T* dy, const T* gradient, bool start, T* sums, T* scratch) const {
  const Index pixels = shape_.height * shape_.width;
  for (Index group = 0; group < shape_.group; ++group) {
    const Index number = image * shape_.group + group;
    const Index behind = (shape_.batch * shape_.group - 1 - number) * channels_ * pixels;
    for (Index band = 0; band < window_.bands(); ++band) {
      const auto source = window_.source(x + number * channels_ * pixels, behind, band, scratch + padded_at_);
      const Index positions = window_.band_rows(band) * shape_.out_w();
      T* const patches = scratch + patches_at_;
      hot_.patches(
          {source.data,
           source.plane,
           channels_,
           rows_ ? Index{1} : shape_.kernel_h,
           shape_.dilation_h * window_.padded_width(),
           shape_.kernel_w,
           shape_.dilation_w,
           shape_.stride_w,
           shape_.stride_h * window_.padded_width(),
           rows_ ? source.rows : nullptr,
           rows_ ? source.row_count : window_.band_rows(band),
           shape_.out_w(),
           patches,
           patch_pitch_});

      const T* rows = gradient ? gradient + group * outputs_ * gradient_pitch_ : scratch + gradient_at_;
      if (!gradient) {
        T* const from = dy + number * outputs_ * positions_ + window_.band_begin(band) * shape_.out_w();
        hot_.gradient(
            {outputs_, positions, from, nullptr, positions_, T(0), scratch + gradient_at_, gradient_pitch_, nullptr});
      }
      for (Index part = 0; part < parts_; ++part) {
        TileArgs<T> args{};
        args.columns = sum_pitch_;
        args.k = positions;
        args.a = rows;
        args.lda = gradient_pitch_;
        args.b = patches + (rows_ ? window_.tap_row(part) * shape_.out_w() * patch_pitch_ : 0);
        args.offsets = offsets_.data();
        args.c = sums + (group * parts_ + part) * outputs_ * sum_pitch_;
        args.ldc = sum_pitch_;
        args.accumulate = !start || band > 0;
        run_panels(hot_, hot_.tiles_rows, args, outputs_, gradient_pitch_);
      }
    }
  }
}

template <class T>
void WeightGradient<T>::reduce(Index o, const T* sums, int count, bool accumulate, T* dw) const {
  T* const out = dw + o * taps_;
  const Index group = o / outputs_, row = o % outputs_;
  for (Index part = 0; part < parts_; ++part) {
    const T* const from = sums + ((group * parts_ + part) * outputs_ + row) * sum_pitch_;
    for (Index j = 0; j < length_; ++j) {
      T total = from[j];
      for (int thread = 1; thread < count; ++thread) total += from[thread * sum_size() + j];
      const Index k =
          rows_ ? (j / shape_.kernel_w * shape_.kernel_h + part) * shape_.kernel_w + j % shape_.kernel_w : j;
      out[k] = accumulate ? out[k] + total : total;
    }
  }
}

template class WeightGradient<float>;
template class WeightGradient<double>;

}  // namespace sparknet::kernels::cpu
