#pragma once

#include "kernels/cpu/filter.h"

namespace sparknet::kernels::cpu {

/// dx, as the changed gradients times the changed weights, changed back and summed where tiles of the input overlap.
/// There are as many tiles as the output has.
template <class T>
class WinogradInputGradient {
 public:
  WinogradInputGradient(const Engine& engine, const ConvolutionShape& shape, FilterForm form);

  /// For weights that are swapped.
  const ChangedWeights<T>& weights() const { return weights_; }
  Index scratch_size() const { return layout_.size(); }

  Index pieces() const { return s_.group * ((s_.batch + block_images_ - 1) / block_images_); }
  void run(Index piece, const T* dy, const T* changed, T* dx, T* scratch) const;

 private:
  /// Of the image with its padding and what hangs over.
  Index rows() const { return tiles_.each * f_.outputs + f_.taps - 1; }
  Index row_pitch() const { return (tiles_.wide * f_.outputs + f_.taps - 1) * pitch_; }

  void change_gradient(const T* planes, Index tile, T* scratch) const;

  void add_tiles(Index tile, T* planes, T* scratch) const;

  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  Index channels_, outputs_;
  ChangedWeights<T> weights_;
  TileRows tiles_;
  Pixels<T> gradients_;
  Index pitch_, block_images_, plane_, product_plane_;
  Layout<T> layout_;
  Index pixels_at_, changed_at_, products_at_, image_at_;
};

extern template class WinogradInputGradient<float>;
extern template class WinogradInputGradient<double>;

}  // namespace sparknet::kernels::cpu
