#include "kernels/cpu/filter.h"

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {

TileRows tile_rows(const ConvolutionShape& shape, const Filter& filter) {
  const auto tiles = [&](Index size) { return (size + filter.outputs - 1) / filter.outputs; };
  return {shape.batch, tiles(shape.out_h()), tiles(shape.out_w())};
}

Index even_size(Index count, Index most, Index least) {
  constexpr Index kBlocks = 8;
  const Index wanted = std::clamp<Index>((count + kBlocks - 1) / kBlocks, least, std::max<Index>(most, least));
  const Index blocks = (count + wanted - 1) / wanted, even = blocks == 1 ? 1 : blocks + blocks % 2;
  return std::max<Index>(1, (count + even - 1) / even);
}

template <class T>
Pixels<T>::Pixels(const HotTable<T>& hot, Index channels, Index height, Index width, Index left, Index padded_width)
    : hot_(hot),
      channels_(channels),
      height_(height),
      width_(width),
      left_(left),
      padded_width_(padded_width),
      pitch_(odd_pitch<T>(round_up(channels, hot.lanes))) {}

template <class T>
void Pixels<T>::gather(const T* planes, Index first, Index rows, T* to) const {
  for (Index h = first; h < first + rows; ++h, to += row_pitch()) {
    if (h < 0 || h >= height_) {
      std::fill_n(to, row_pitch(), T(0));
      continue;
    }
    std::fill_n(to, left_ * pitch_, T(0));
    T* const inner = to + left_ * pitch_;
    hot_.transpose(channels_, width_, planes + h * width_, height_ * width_, inner, pitch_);
    std::fill_n(inner + width_ * pitch_, (padded_width_ - left_ - width_) * pitch_, T(0));
  }
}

template <class T>
ChangedWeights<T>::ChangedWeights(const HotTable<T>& hot, Filter filter, Index groups, Index channels, Index outputs)
    : hot_(hot),
      f_(filter),
      groups_(groups),
      channels_(channels),
      outputs_(outputs),
      unit_(2 * hot.lanes),
      blocks_((outputs + unit_ - 1) / unit_),
      parts_((channels + kWeightChannels - 1) / kWeightChannels) {
  for (Index c = 0; c < channels_; ++c) offsets_.push_back(static_cast<std::int32_t>(c * unit_));
}

template <class T>
void ChangedWeights<T>::change(Index piece, WeightOrder order, const T* weights, T* changed, T* scratch) const {
  const Index part = piece % parts_, block = piece / parts_ % blocks_, group = piece / parts_ / blocks_;
  const Index c = part * kWeightChannels, n = std::min(kWeightChannels, channels_ - c);
  const Index o = block * unit_, outputs = std::min(unit_, outputs_ - o);
  const Index taps = f_.taps * f_.taps;
  const T* const from = weights + group * outputs_ * channels_ * taps;
  if (order == WeightOrder::Plain) {
    hot_.transpose(outputs, n * taps, from + (o * channels_ + c) * taps, channels_ * taps, scratch, unit_);
  } else {
    for (Index i = 0; i < n; ++i) {
      hot_.transpose(outputs, taps, from + ((c + i) * outputs_ + o) * taps, taps, scratch + i * taps * unit_, unit_);
    }
  }
  const bool turned = order == WeightOrder::Turned;
  FilterArgs<T> args{};
  args.tiles = n;
  args.channels = unit_;
  args.src = turned ? scratch + (taps - 1) * unit_ : scratch;
  args.from = {taps * unit_, (turned ? -f_.taps : f_.taps) * unit_, turned ? -unit_ : unit_};
  args.dst = changed + group * f_.square() * point_size() + (block * channels_ + c) * unit_;
  args.to = f_.squares(unit_, point_size());
  hot_.winograd_weights(f_.form, args);
}

template <class T>
void ChangedWeights<T>::multiply(
    Share range, Index tiles, const T* from, Index plane, Index pitch, const T* changed, T* products,
    Index product_plane, Index product_pitch) const {
  TileArgs<T> args{};
  args.k = channels_;
  args.lda = pitch;
  args.offsets = offsets_.data();
  args.ldc = product_pitch;
  for (Index point = 0; point < f_.square(); ++point) {
    for (Index block = range.begin; block < range.end; ++block) {
      args.columns = std::min(unit_, round_up(outputs_ - block * unit_, hot_.lanes));
      args.a = from + point * plane;
      args.b = changed + point * point_size() + block * channels_ * unit_;
      args.c = products + point * product_plane + block * unit_;
      run_panels(hot_, hot_.tiles_rows, args, tiles, pitch);
    }
  }
}

template class Pixels<float>;
template class Pixels<double>;
template class ChangedWeights<float>;
template class ChangedWeights<double>;

}  // namespace sparknet::kernels::cpu
