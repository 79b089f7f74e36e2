#pragma once

#include <algorithm>
#include <vector>

#include "kernels/cpu/engine.h"

// What the passes of a convolution by minimal filtering share.

namespace sparknet::kernels::cpu {

/// Bytes of changed inputs and products that a thread works on at a time: about half of a second-level cache.
constexpr Index kFilterBlockBytes = 512 * 1024;
/// Weights that are changed at a time, in channels.
constexpr Index kWeightChannels = 16;

struct Filter {
  explicit Filter(FilterForm f)
      : form(f), outputs(f == FilterForm::F4x3 ? 4 : 2), taps(f == FilterForm::F2x5 ? 5 : 3) {}

  FilterForm form;
  Index outputs, taps;
  Index points() const { return outputs + taps - 1; }
  Index square() const { return points() * points(); }
  /// Of tiles that lie one behind the other in a plane for each point.
  Squares squares(Index tile_pitch, Index plane) const { return {tile_pitch, points() * plane, plane}; }
};

/// The tiles of a batch: rows of tiles, those of all images one behind the other.
struct TileRows {
  Index images, each, wide;

  Index count() const { return images * each; }
  /// Calls f(image, first row of tiles, last + 1, tiles before it) for the images in [begin, end).
  template <class F>
  void for_images(Index begin, Index end, F&& f) const {
    for (Index row = begin; row < end;) {
      const Index image = row / each, stop = std::min(end, (image + 1) * each);
      f(image, row - image * each, stop - image * each, (row - begin) * wide);
      row = stop;
    }
  }
};

TileRows tile_rows(const ConvolutionShape& shape, const Filter& filter);

/// The size of blocks that `count` is cut into: `most` where there are many of them, and else so that an even number of
/// blocks, eight where they are not smaller than `least`, come out. It does not depend on the threads, as compilers may
/// round panels of other heights otherwise.
Index even_size(Index count, Index most, Index least);

/// Planes of one group of an image as pixels whose channels lie together, within zeros.
template <class T>
class Pixels {
 public:
  Pixels(const HotTable<T>& hot, Index channels, Index height, Index width, Index left, Index padded_width);

  /// Elements from one pixel to the next, and from one row to the next.
  Index pitch() const { return pitch_; }
  Index row_pitch() const { return padded_width_ * pitch_; }

  /// Of tiles that are `outputs` pixels apart.
  Squares squares(Index outputs) const { return {outputs * pitch_, row_pitch(), pitch_}; }

  /// Rows [first, first + rows), of which those outside of the image are zeros.
  void gather(const T* planes, Index first, Index rows, T* to) const;

 private:
  const HotTable<T>& hot_;
  Index channels_, height_, width_, left_, padded_width_, pitch_;
};

enum class WeightOrder {
  /// w[output][channel][tap]
  Plain,
  /// w[channel][output][tap]
  Swapped,
  /// The same, with the taps from the last to the first.
  Turned
};

/// Weights of all groups as products want them: [group][point][block of outputs][channel][output].
template <class T>
class ChangedWeights {
 public:
  ChangedWeights(const HotTable<T>& hot, Filter filter, Index groups, Index channels, Index outputs);

  /// Outputs in a block, and blocks.
  Index unit() const { return unit_; }
  Index blocks() const { return blocks_; }
  /// Of one point.
  Index point_size() const { return blocks_ * channels_ * unit_; }
  Index size() const { return groups_ * f_.square() * point_size(); }
  Index scratch_size() const { return kWeightChannels * f_.taps * f_.taps * unit_; }

  /// Pieces of work of change().
  Index pieces() const { return groups_ * blocks_ * parts_; }
  void change(Index piece, WeightOrder order, const T* weights, T* changed, T* scratch) const;

  /// products[point][tile][output] = from[point][tile][channel] * the changed weights of one group, for the outputs of
  /// the blocks `range`.
  void multiply(
      Share range, Index tiles, const T* from, Index plane, Index pitch, const T* changed, T* products,
      Index product_plane, Index product_pitch) const;

 private:
  const HotTable<T>& hot_;
  Filter f_;
  /// Channels and outputs are of one group.
  Index groups_, channels_, outputs_, unit_, blocks_, parts_;
  std::vector<std::int32_t> offsets_;
};

extern template class Pixels<float>;
extern template class Pixels<double>;
extern template class ChangedWeights<float>;
extern template class ChangedWeights<double>;

}  // namespace sparknet::kernels::cpu
