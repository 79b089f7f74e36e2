#pragma once

#include "kernels/cpu/filter.h"

namespace sparknet::kernels::cpu {

/// dw: for each point the products of the changed inputs and the changed gradients, summed over all tiles in the same
/// order whatever the number of threads.
template <class T>
class WinogradWeightGradient {
 public:
  WinogradWeightGradient(Engine& engine, const ConvolutionShape& shape, FilterForm form);

  Index scratch_size() const { return shared_.size() + engine_.team.size() * own_.size(); }

  void run(const T* x, const T* dy, bool accumulate, T* dw, T* scratch) const;

 private:
  void change(
      const T* x, const T* dy, Index image, Index group, Index first, Index last, Index tile, T* scratch, T* own) const;

  void multiply(Index group, Index point, Index block, Index tiles, bool accumulate, T* scratch) const;

  void reduce(Index group, Index block, Index part, bool accumulate, T* dw, T* scratch, T* own) const;

  Engine& engine_;
  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Filter f_;
  Index channels_, outputs_, unit_, blocks_;
  TileRows tiles_;
  Pixels<T> pixels_, gradients_;
  Index point_size_;
  Index chunk_rows_, plane_, gradient_plane_;
  Layout<T> shared_, own_;
  Index sums_at_, changed_at_, gradients_at_, pixels_at_, gradient_pixels_at_, weights_at_, turned_at_;
  std::vector<std::int32_t> offsets_;
};

extern template class WinogradWeightGradient<float>;
extern template class WinogradWeightGradient<double>;

}  // namespace sparknet::kernels::cpu
