#pragma once

#include <vector>

#include "kernels/cpu/window.h"

namespace sparknet::kernels::cpu {

/// The forward pass of a convolution: y[o][p] = act(bias[o] + sum_k w[o][k] * column[k][p]) for each group.
/// The columns are not stored: each row of the input is unrolled along the width only, and the vertical taps are
/// offsets into that.
template <class T>
class Correlation {
 public:
  Correlation(const Engine& engine, const ConvolutionShape& shape);

  /// Pieces of work of one image, which may run at the same time.
  Index pieces() const { return shape_.group * window_.bands(); }
  /// Elements of scratch for each thread.
  Index scratch_size() const { return layout_.size(); }
  /// x and y are whole tensors.
  void run(Index image, Index piece, const T* x, const T* weights, const T* bias, Activation, T* y, T* scratch) const;

 private:
  const HotTable<T>& hot_;
  ConvolutionShape shape_;
  Index channels_, outputs_, taps_, positions_;
  Window<T> window_;
  Index pitch_;
  Layout<T> layout_;
  Index padded_at_, unrolled_at_;
  /// A convolution of single pixels, whose columns are the input itself.
  bool pixelwise_;
  std::vector<std::int32_t> offsets_;
};

extern template class Correlation<float>;
extern template class Correlation<double>;

/// Runs all rows of a product in panels of nearly equal height.
template <class T, class Tiles>
void run_panels(const HotTable<T>& hot, Tiles tiles, TileArgs<T> args, Index rows, Index a_step) {
  const Index panels = (rows + hot.max_rows - 1) / hot.max_rows;
  const T* const a = args.a;
  T* const c = args.c;
  const T* const bias = args.bias;
  for (Index panel = 0; panel < panels; ++panel) {
    const Share part = share(rows, static_cast<int>(panels), static_cast<int>(panel));
    args.rows = part.size();
    args.a = a + part.begin * a_step;
    args.c = c + part.begin * args.ldc;
    args.bias = bias ? bias + part.begin : nullptr;
    tiles(args);
  }
}

}  // namespace sparknet::kernels::cpu
