#pragma once

#include <vector>

#include "kernels/cpu/window.h"

namespace sparknet::kernels::cpu {

/// dw[o][k] = sum_p dy[o][p] * patch[p][k], with vectors along k. A patch is a whole window (Full), or one row of it
/// and the vertical taps are offsets (Rows): that writes less, but its rows may fill vectors badly.
/// The images are summed in parts that depend on the shape alone, each part in the order of its images.
template <class T>
class WeightGradient {
 public:
  WeightGradient(const Engine& engine, const ConvolutionShape& shape);

  /// Elements of scratch for each thread, and of the sums.
  Index scratch_size() const { return layout_.size(); }
  Index sums_size() const { return sum_count_ * sum_size_; }

  /// Pieces of work, panels of outputs in a part of the images each. Neighbours share what is made of the input.
  Index pieces() const { return sum_count_ * shape_.group * panels_; }
  void run(Index begin, Index end, const T* x, T* dy, T* sums, T* scratch) const;
  /// dw[o] = or += the sums, for output o (of all groups).
  void reduce(Index o, const T* sums, bool accumulate, T* dw) const;

 private:
  static bool by_rows(const ConvolutionShape& shape, Index lanes);
  /// Panels of one group and one image, added to the sums or starting them.
  void add(Index image, Index group, Share panels, const T* x, T* dy, bool start, T* sums, T* scratch) const;

  const HotTable<T>& hot_;
  ConvolutionShape shape_;
  Index channels_, outputs_, taps_, positions_;
  bool rows_;
  /// Patches of this many elements; the sum of one weight is in part number parts_ of a window.
  Index parts_, length_;
  Window<T> window_;
  Index patch_pitch_, sum_pitch_, gradient_pitch_;
  Index panels_, sum_size_, sum_count_;
  Layout<T> layout_;
  Index padded_at_, patches_at_, gradient_at_;
  std::vector<std::int32_t> offsets_;
};

extern template class WeightGradient<float>;
extern template class WeightGradient<double>;

}  // namespace sparknet::kernels::cpu
