#pragma once

#include <optional>
#include <vector>

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {

/// dx of a convolution. Where the output is about as large as the input it is the correlation of dy with the turned
/// weights; else the gradients of the columns, w^T dy, summed into the image.
template <class T>
class InputGradient {
 public:
  InputGradient(const Engine& engine, const ConvolutionShape& shape);

  /// Elements of scratch for each thread.
  Index scratch_size() const { return layout_.size(); }
  /// Elements of the weights that all threads share, made by turn().
  Index weights_size() const { return turned_ ? shape_.num_output * taps_ : 0; }
  /// Makes the shared weights of input channel c of all groups.
  void turn(Index c, const T* weights, T* turned_weights) const;

  /// Pieces of work of one image.
  Index pieces() const { return turned_ ? turned_->pieces() : shape_.group * blocks_; }
  /// Neighbouring pieces of an image.
  void run(Index image, Share pieces, const T* weights, const T* turned_weights, T* dy, T* dx, T* scratch) const;

 private:
  void fold(Index channels, const T* columns, T* dx) const;

  const HotTable<T>& hot_;
  ConvolutionShape shape_;
  /// Inputs, outputs and weights of one output in a group.
  Index channels_, outputs_, taps_;
  std::optional<Correlation<T>> turned_;
  /// Channels whose columns are summed at a time.
  Index block_ = 0, blocks_ = 0;
  Index pitch_ = 0, gradient_pitch_ = 0;
  Layout<T> layout_;
  Index columns_at_ = 0, gradient_at_ = 0;
  std::vector<std::int32_t> gradient_offsets_;
  /// See FoldArgs: index 0 of the mask is at mask_begin_.
  std::vector<T> mask_;
  Index mask_begin_ = 0;
};

extern template class InputGradient<float>;
extern template class InputGradient<double>;

}  // namespace sparknet::kernels::cpu
