#include "kernels/cpu/winograd_input_gradient.h"

namespace sparknet::kernels::cpu {

template <class T>
WinogradInputGradient<T>::WinogradInputGradient(const Engine& engine, const ConvolutionShape& shape, FilterForm form)
    : hot_(table<T>(engine)),
      s_(shape),
      f_(form),
      channels_(shape.channels / shape.group),
      outputs_(shape.num_output / shape.group),
      weights_(hot_, f_, shape.group, outputs_, channels_),
      tiles_(tile_rows(shape, f_)),
      gradients_(hot_, outputs_, shape.out_h(), shape.out_w(), 0, tiles_.wide * f_.outputs),
      pitch_(odd_pitch<T>(round_up(channels_, hot_.lanes))) {
  const Index image_tiles = tiles_.each * tiles_.wide;
  const Index tile_bytes = f_.square() * (gradients_.pitch() + pitch_) * static_cast<Index>(sizeof(T));
  block_images_ = even_size(s_.batch, kFilterBlockBytes / (tile_bytes * image_tiles), 1);
  plane_ = odd_pitch<T>(block_images_ * image_tiles * gradients_.pitch());
  product_plane_ = odd_pitch<T>(block_images_ * image_tiles * pitch_);
  pixels_at_ = layout_.add(f_.outputs * gradients_.row_pitch());
  changed_at_ = layout_.add(f_.square() * plane_);
  products_at_ = layout_.add(f_.square() * product_plane_);
  image_at_ = layout_.add(rows() * row_pitch());
}

template <class T>
void WinogradInputGradient<T>::run(Index piece, const T* dy, const T* changed, T* dx, T* scratch) const {
  const Index group = piece % s_.group, begin = piece / s_.group * block_images_;
  const Index end = std::min(begin + block_images_, s_.batch), image_tiles = tiles_.each * tiles_.wide;
  for (Index image = begin; image < end; ++image) {
    const T* const planes = dy + (image * s_.group + group) * outputs_ * s_.out_h() * s_.out_w();
    change_gradient(planes, (image - begin) * image_tiles, scratch);
  }
  weights_.multiply(
      {0, weights_.blocks()},
      (end - begin) * image_tiles,
      scratch + changed_at_,
      plane_,
      gradients_.pitch(),
      changed + group * f_.square() * weights_.point_size(),
      scratch + products_at_,
      product_plane_,
      pitch_);
  for (Index image = begin; image < end; ++image) {
    T* const planes = dx + (image * s_.group + group) * channels_ * s_.height * s_.width;
    add_tiles((image - begin) * image_tiles, planes, scratch);
  }
}

template <class T>
void WinogradInputGradient<T>::change_gradient(const T* planes, Index tile, T* scratch) const {
  FilterArgs<T> args{};
  args.tiles = tiles_.wide;
  args.channels = round_up(outputs_, hot_.lanes);
  args.src = scratch + pixels_at_;
  args.from = gradients_.squares(f_.outputs);
  args.to = f_.squares(gradients_.pitch(), plane_);
  for (Index row = 0; row < tiles_.each; ++row, tile += tiles_.wide) {
    gradients_.gather(planes, row * f_.outputs, f_.outputs, scratch + pixels_at_);
    args.dst = scratch + changed_at_ + tile * gradients_.pitch();
    hot_.winograd_gradient(f_.form, args);
  }
}

template <class T>
void WinogradInputGradient<T>::add_tiles(Index tile, T* planes, T* scratch) const {
  T* const image = scratch + image_at_;
  std::fill_n(image, rows() * row_pitch(), T(0));
  FilterArgs<T> args{};
  args.tiles = tiles_.wide;
  args.channels = round_up(channels_, hot_.lanes);
  args.from = f_.squares(pitch_, product_plane_);
  args.to = {f_.outputs * pitch_, row_pitch(), pitch_};
  for (Index row = 0; row < tiles_.each; ++row, tile += tiles_.wide) {
    args.src = scratch + products_at_ + tile * pitch_;
    args.dst = image + row * f_.outputs * row_pitch();
    hot_.winograd_input_gradient(f_.form, args);
  }
  for (Index h = 0; h < s_.height; ++h) {
    const T* const from = image + (h + s_.pad_h) * row_pitch() + s_.pad_w * pitch_;
    hot_.transpose(s_.width, channels_, from, pitch_, planes + h * s_.width, s_.height * s_.width);
  }
}

template class WinogradInputGradient<float>;
template class WinogradInputGradient<double>;

}  // namespace sparknet::kernels::cpu
