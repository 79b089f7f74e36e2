#pragma once

#include <vector>

#include "kernels/cpu/window.h"

namespace sparknet::kernels::cpu {

/// dw[o][k] = sum_p dy[o][p] * patch[p][k], with vectors along k. A patch is a whole window (Full), or one row of it
/// and the vertical taps are offsets (Rows): that writes less, but its rows may fill vectors badly.
template <class T>
class WeightGradient {
 public:
  /// `whole` asks for one band.
  WeightGradient(const Engine& engine, const ConvolutionShape& shape, bool whole);

  /// Elements of scratch for each thread.
  Index scratch_size() const { return layout_.size(); }
  /// Elements of the sums of one thread.
  Index sum_size() const { return shape_.group * parts_ * outputs_ * sum_pitch_; }
  bool whole() const { return window_.bands() == 1; }
  /// Elements from row to row of a copy of dy, [num_output][out_h * out_w].
  Index gradient_pitch() const { return gradient_pitch_; }

  /// Adds an image to the sums, or starts them. `gradient` is a copy of the image's dy with gradient_pitch() where
  /// whole(), else null.
  void run(Index image, const T* x, T* dy, const T* gradient, bool start, T* sums, T* scratch) const;
  /// dw[o] = or += the sums of `count` threads, for output o (of all groups).
  void reduce(Index o, const T* sums, int count, bool accumulate, T* dw) const;

 private:
  static bool by_rows(const ConvolutionShape& shape, Index lanes);

  const HotTable<T>& hot_;
  ConvolutionShape shape_;
  Index channels_, outputs_, taps_, positions_;
  bool rows_;
  /// Patches of this many elements; the sum of one weight is in part number parts_ of a window.
  Index parts_, length_;
  Window<T> window_;
  Index patch_pitch_, sum_pitch_, gradient_pitch_;
  Layout<T> layout_;
  Index padded_at_, patches_at_, gradient_at_;
  std::vector<std::int32_t> offsets_;
};

extern template class WeightGradient<float>;
extern template class WeightGradient<double>;

}  // namespace sparknet::kernels::cpu
