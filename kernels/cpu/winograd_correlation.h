#pragma once

#include "kernels/cpu/filter.h"

namespace sparknet::kernels::cpu {

/// y = act(bias + w * x).
template <class T>
class WinogradCorrelation {
 public:
  WinogradCorrelation(const Engine& engine, const ConvolutionShape& shape, FilterForm form);

  const ChangedWeights<T>& weights() const { return weights_; }
  /// Elements of scratch for each thread, and of the bias that all share, whose groups begin at whole blocks.
  Index scratch_size() const { return layout_.size(); }
  Index bias_size() const { return s_.group * weights_.blocks() * weights_.unit(); }

  /// Pieces of work of run().
  Index pieces() const { return s_.group * row_blocks_ * parts_; }
  /// x and y are whole tensors; the bias may be null.
  void run(Index piece, const T* x, const T* changed, const T* bias, Activation activation, T* y, T* scratch) const;

 private:
  void change_input(const T* planes, Index first, Index last, Index tile, T* scratch) const;

  void change_output(
      Share blocks, Index first, Index last, Index tile, const T* bias, Activation activation, T* planes,
      T* scratch) const;

  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  /// Of one group.
  Index channels_, outputs_;
  ChangedWeights<T> weights_;
  TileRows tiles_;
  Pixels<T> pixels_;
  Index product_pitch_;
  Index block_rows_, row_blocks_, plane_, product_plane_;
  /// Into how many pieces of work the outputs of a block of tiles are cut.
  int parts_;
  Layout<T> layout_;
  Index pixels_at_, changed_at_, products_at_, outputs_at_;
};

extern template class WinogradCorrelation<float>;
extern template class WinogradCorrelation<double>;

}  // namespace sparknet::kernels::cpu
