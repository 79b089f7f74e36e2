#include "kernels/cpu/weight_gradient.h"

#include <algorithm>

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {
namespace {

/// What the sums may take, and the positions that a sum is to have so that adding sums up is little beside them.
constexpr Index kSumBytes = 4 << 20;
constexpr Index kSumPositions = 1024;

}  // namespace

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
WeightGradient<T>::WeightGradient(const Engine& engine, const ConvolutionShape& shape)
    : hot_(table<T>(engine)),
      shape_(shape),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      taps_(channels_ * shape.kernel_h * shape.kernel_w),
      positions_(shape.out_h() * shape.out_w()),
      rows_(by_rows(shape, hot_.lanes)),
      parts_(rows_ ? shape.kernel_h : 1),
      length_(taps_ / parts_),
      window_(shape, hot_.lanes, length_ * shape.out_w() * static_cast<Index>(sizeof(T)), 1),
      patch_pitch_(odd_pitch<T>(length_ + hot_.lanes)),
      sum_pitch_(round_up(length_, hot_.lanes)),
      gradient_pitch_(odd_pitch<T>(window_.band_positions() + 2 * hot_.lanes)),
      panels_((outputs_ + hot_.max_rows - 1) / hot_.max_rows),
      sum_size_(shape.group * parts_ * outputs_ * sum_pitch_) {
  const Index fitting = kSumBytes / (sum_size_ * static_cast<Index>(sizeof(T)));
  const Index worth = shape.batch * positions_ / kSumPositions;
  sum_count_ = std::clamp<Index>(std::min(fitting, worth), 1, std::min<Index>(kMostSumParts, shape.batch));
  const Index patch_count = rows_ ? window_.row_count() * shape.out_w() : window_.band_positions();
  padded_at_ = layout_.add(window_.buffer_size());
  patches_at_ = layout_.add(patch_count * patch_pitch_ + hot_.lanes);
  gradient_at_ = layout_.add(outputs_ * gradient_pitch_);
  for (Index p = 0; p < window_.band_positions(); ++p) offsets_.push_back(static_cast<std::int32_t>(p * patch_pitch_));
}

template <class T>
void WeightGradient<T>::run(Index begin, Index end, const T* x, T* dy, T* sums, T* scratch) const {
  while (begin < end) {
    const Index unit = begin / panels_, sum = unit / shape_.group, group = unit % shape_.group;
    const Index stop = std::min(end, (unit + 1) * panels_);
    const Share images = share(shape_.batch, static_cast<int>(sum_count_), static_cast<int>(sum));
    for (Index image = images.begin; image < images.end; ++image) {
      add(image,
          group,
          {begin - unit * panels_, stop - unit * panels_},
          x,
          dy,
          image == images.begin,
          sums + sum * sum_size_,
          scratch);
    }
    begin = stop;
  }
}

template <class T>
void WeightGradient<T>::add(
    Index image, Index group, Share panels, const T* x, T* dy, bool start, T* sums, T* scratch) const {
  const Index pixels = shape_.height * shape_.width;
  const Index number = image * shape_.group + group;
  const Index behind = (shape_.batch * shape_.group - 1 - number) * channels_ * pixels;
  const auto rows_of = [&](Index panel) { return share(outputs_, static_cast<int>(panels_), static_cast<int>(panel)); };
  const Index first = rows_of(panels.begin).begin, count = rows_of(panels.end - 1).end - first;
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

    T* const gradient = scratch + gradient_at_;
    T* const from = dy + (number * outputs_ + first) * positions_ + window_.band_begin(band) * shape_.out_w();
    hot_.gradient({count, positions, from, nullptr, positions_, T(0), gradient, gradient_pitch_, nullptr});
    for (Index part = 0; part < parts_; ++part) {
      TileArgs<T> args{};
      args.columns = sum_pitch_;
      args.k = positions;
      args.lda = gradient_pitch_;
      args.b = patches + (rows_ ? window_.tap_row(part) * shape_.out_w() * patch_pitch_ : 0);
      args.offsets = offsets_.data();
      args.ldc = sum_pitch_;
      args.accumulate = !start || band > 0;
      for (Index panel = panels.begin; panel < panels.end; ++panel) {
        const Share rows = rows_of(panel);
        args.rows = rows.size();
        args.a = gradient + (rows.begin - first) * gradient_pitch_;
        args.c = sums + ((group * parts_ + part) * outputs_ + rows.begin) * sum_pitch_;
        hot_.tiles_rows(args);
      }
    }
  }
}

template <class T>
void WeightGradient<T>::reduce(Index o, const T* sums, bool accumulate, T* dw) const {
  T* const out = dw + o * taps_;
  const Index group = o / outputs_, row = o % outputs_;
  for (Index part = 0; part < parts_; ++part) {
    const T* const from = sums + ((group * parts_ + part) * outputs_ + row) * sum_pitch_;
    for (Index j = 0; j < length_; ++j) {
      T total = from[j];
      for (Index sum = 1; sum < sum_count_; ++sum) total += from[sum * sum_size_ + j];
      const Index k =
          rows_ ? (j / shape_.kernel_w * shape_.kernel_h + part) * shape_.kernel_w + j % shape_.kernel_w : j;
      out[k] = accumulate ? out[k] + total : total;
    }
  }
}

template class WeightGradient<float>;
template class WeightGradient<double>;

}  // namespace sparknet::kernels::cpu
