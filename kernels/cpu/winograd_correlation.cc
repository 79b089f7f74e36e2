#include "kernels/cpu/winograd_correlation.h"

namespace sparknet::kernels::cpu {
namespace {

/// kFilterBlockBytes at the most where it would be the weights that come from a farther cache for every block.
constexpr Index kLargeBlockBytes = 4 * 1024 * 1024;

}  // namespace

template <class T>
WinogradCorrelation<T>::WinogradCorrelation(const Engine& engine, const ConvolutionShape& shape, FilterForm form)
    : hot_(table<T>(engine)),
      s_(shape),
      f_(form),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      weights_(hot_, f_, shape.group, channels_, outputs_),
      tiles_(tile_rows(shape, f_)),
      pixels_(hot_, channels_, shape.height, shape.width, shape.pad_w, tiles_.wide * f_.outputs + f_.taps - 1),
      product_pitch_(odd_pitch<T>(round_up(outputs_, hot_.lanes))) {
  const Index tile_bytes = f_.square() * (pixels_.pitch() + product_pitch_) * static_cast<Index>(sizeof(T));
  // So many tiles need as many bytes as the weights do.
  const Index even = channels_ * outputs_ / (channels_ + outputs_);
  const Index fitting =
      std::max({hot_.max_rows, kFilterBlockBytes / tile_bytes, std::min(kLargeBlockBytes / tile_bytes, even)});
  block_rows_ = even_size(tiles_.count(), fitting / tiles_.wide, (hot_.max_rows + tiles_.wide - 1) / tiles_.wide);
  row_blocks_ = (tiles_.count() + block_rows_ - 1) / block_rows_;
  // So few tiles that each thread changes them all, for outputs of its own.
  const Index blocks = s_.group * row_blocks_, team = engine.team.size();
  parts_ = static_cast<int>(std::min((team + blocks - 1) / blocks, weights_.blocks()));
  const Index max_tiles = block_rows_ * tiles_.wide;
  plane_ = odd_pitch<T>(max_tiles * pixels_.pitch());
  product_plane_ = odd_pitch<T>(max_tiles * product_pitch_);
  pixels_at_ = layout_.add((block_rows_ * f_.outputs + f_.taps - 1) * pixels_.row_pitch());
  changed_at_ = layout_.add(f_.square() * plane_);
  products_at_ = layout_.add(f_.square() * product_plane_);
  outputs_at_ = layout_.add(block_rows_ * f_.outputs * tiles_.wide * f_.outputs * product_pitch_);
}

template <class T>
void WinogradCorrelation<T>::run(
    Index piece, const T* x, const T* changed, const T* bias, Activation activation, T* y, T* scratch) const {
  const Share outputs = share(weights_.blocks(), parts_, static_cast<int>(piece % parts_));
  const Index group = piece / parts_ % s_.group, begin = piece / parts_ / s_.group * block_rows_;
  const Index end = std::min(begin + block_rows_, tiles_.count());
  tiles_.for_images(begin, end, [&](Index image, Index first, Index last, Index tile) {
    const T* const planes = x + (image * s_.group + group) * channels_ * s_.height * s_.width;
    change_input(planes, first, last, tile, scratch);
  });
  weights_.multiply(
      outputs,
      (end - begin) * tiles_.wide,
      scratch + changed_at_,
      plane_,
      pixels_.pitch(),
      changed + group * f_.square() * weights_.point_size(),
      scratch + products_at_,
      product_plane_,
      product_pitch_);
  const T* const own_bias = bias ? bias + group * weights_.blocks() * weights_.unit() : nullptr;
  tiles_.for_images(begin, end, [&](Index image, Index first, Index last, Index tile) {
    T* const planes = y + (image * s_.group + group) * outputs_ * s_.out_h() * s_.out_w();
    change_output(outputs, first, last, tile, own_bias, activation, planes, scratch);
  });
}

template <class T>
void WinogradCorrelation<T>::change_input(const T* planes, Index first, Index last, Index tile, T* scratch) const {
  T* const pixels = scratch + pixels_at_;
  const Index rows = (last - first) * f_.outputs + f_.taps - 1;
  pixels_.gather(planes, first * f_.outputs - s_.pad_h, rows, pixels);
  FilterArgs<T> args{};
  args.tiles = tiles_.wide;
  args.channels = round_up(channels_, hot_.lanes);
  args.from = pixels_.squares(f_.outputs);
  args.to = f_.squares(pixels_.pitch(), plane_);
  for (Index row = first; row < last; ++row, tile += tiles_.wide) {
    args.src = pixels + (row - first) * f_.outputs * pixels_.row_pitch();
    args.dst = scratch + changed_at_ + tile * pixels_.pitch();
    hot_.winograd_input(f_.form, args);
  }
}

template <class T>
void WinogradCorrelation<T>::change_output(
    Share blocks, Index first, Index last, Index tile, const T* bias, Activation activation, T* planes,
    T* scratch) const {
  const Index output = blocks.begin * weights_.unit();
  const Index outputs = std::min(blocks.end * weights_.unit(), outputs_) - output;
  T* const pixels = scratch + outputs_at_;
  const Index row_pitch = tiles_.wide * f_.outputs * product_pitch_;
  FilterArgs<T> args{};
  args.tiles = tiles_.wide;
  args.channels = round_up(outputs, hot_.lanes);
  args.from = f_.squares(product_pitch_, product_plane_);
  args.to = {f_.outputs * product_pitch_, row_pitch, product_pitch_};
  args.bias = bias ? bias + output : nullptr;
  args.relu = activation.relu;
  args.slope = static_cast<T>(activation.negative_slope);
  for (Index row = first; row < last; ++row, tile += tiles_.wide) {
    args.src = scratch + products_at_ + tile * product_pitch_ + output;
    args.dst = pixels + (row - first) * f_.outputs * row_pitch;
    hot_.winograd_output(f_.form, args);
  }
  const Index out_h = s_.out_h(), out_w = s_.out_w();
  const Index top = first * f_.outputs, bottom = std::min(last * f_.outputs, out_h);
  T* const to = planes + output * out_h * out_w;
  for (Index h = top; h < bottom; ++h) {
    hot_.transpose(out_w, outputs, pixels + (h - top) * row_pitch, product_pitch_, to + h * out_w, out_h * out_w);
  }
}

template class WinogradCorrelation<float>;
template class WinogradCorrelation<double>;

}  // namespace sparknet::kernels::cpu
