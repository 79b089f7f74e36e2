#pragma once

#include <vector>

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// How a convolution walks one group of one image: bands of output rows, the zero-padded input rows under a band, and
/// the order in which those rows are unrolled. Rows whose numbers leave the same remainder by the stride lie together,
/// so that the rows under one tap are consecutive whatever the stride.
template <class T>
class Window {
 public:
  /// As few bands as keep `row_bytes` for each unrolled row within a share of the cache, and at least `min_bands`.
  Window(const ConvolutionShape& shape, Index lanes, Index row_bytes, Index min_bands);

  Index bands() const { return bands_; }
  Index band_begin(Index band) const { return share(out_h_, static_cast<int>(bands_), static_cast<int>(band)).begin; }
  Index band_rows(Index band) const { return share(out_h_, static_cast<int>(bands_), static_cast<int>(band)).size(); }
  /// Output positions of the largest band.
  Index band_positions() const { return max_rows_ * out_w_; }
  /// Unrolled input rows of a full band.
  Index row_count() const { return static_cast<Index>(rows_.size()); }
  /// The unrolled row under output row 0 of a band for vertical tap kh.
  Index tap_row(Index kh) const { return tap_rows_[static_cast<std::size_t>(kh)]; }
  Index padded_width() const { return padded_width_; }

  /// A band of the input with its padding. Readable up to one vector behind the end.
  struct Source {
    const T* data;
    /// Elements from one channel to the next.
    Index plane;
    const std::int32_t* rows;
    Index row_count;
  };
  /// Elements of the buffer that source() fills.
  Index buffer_size() const;
  /// `x` is one group of an image, `behind` how many elements are readable behind it.
  Source source(const T* x, Index behind, Index band, T* buffer) const;

 private:
  ConvolutionShape shape_;
  Index lanes_, channels_, out_h_, out_w_;
  Index bands_, max_rows_, padded_rows_, padded_width_;
  std::vector<std::int32_t> rows_;
  std::vector<Index> tap_rows_;
};

extern template class Window<float>;
extern template class Window<double>;

}  // namespace sparknet::kernels::cpu
