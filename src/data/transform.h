#pragma once

#include <cstddef>
#include <memory>

#include "sparknet/data/feed.h"

namespace sparknet::detail {

/// Where an example is cut out and whether it is flipped left to right.
struct Placement {
  Dim top = 0, left = 0;
  bool flip = false;
};

/// A Transform made ready for one column: reads an example as it is stored and writes it as the net wants it.
class Transformer {
 public:
  virtual ~Transformer() = default;

  /// Of an example once it is cropped.
  const Shape& shape() const { return shape_; }
  /// The placement of example number `example` of all that a feed gives. Columns of equal size are placed equally, so
  /// that an image and its mask stay together.
  Placement place(std::uint64_t seed, std::uint64_t example) const;
  virtual void apply(const std::byte* in, std::byte* out, const Placement& placement) const = 0;

 protected:
  Transformer(const Column& column, const Transform& transform, bool random);

  /// Without a placement there is no need of short rows.
  void join_rows(bool across_channels);
  /// Calls row(channel, place in what is stored, place in what is written) for each row.
  template <class Row>
  void for_rows(const Placement& placement, const Row& row) const {
    Dim to = 0;
    for (Dim c = 0; c < channels_; ++c)
      for (Dim y = 0; y < cut_height_; ++y, to += cut_width_)
        row(c, (c * height_ + placement.top + y) * width_ + placement.left, to);
  }

  Shape shape_;
  Dim channels_ = 1, height_ = 1, width_ = 1;  // of what is stored
  Dim cut_height_ = 1, cut_width_ = 1;         // of what is written
  bool crops_ = false, draws_place_ = false, draws_flip_ = false;
};

/// `out` is F32 or F64 for values, the column's type for what is stored, and I32 for placements. Throws DataError where
/// the transform does not suit the column.
std::unique_ptr<const Transformer> make_transformer(
    const Column& column, const Transform& transform, bool random, DType out, FeedPart part = FeedPart::Values);

}  // namespace sparknet::detail
