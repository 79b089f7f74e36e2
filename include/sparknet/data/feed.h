#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sparknet/data/source.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// What happens to a column between the source and the net, in one pass: crop, mirror, (x - mean) * scale.
/// Crop and mirror want an image column [C, H, W].
struct Transform {
  double scale = 1;
  /// One value for each channel, or one for all; empty: none.
  std::vector<double> mean_values = {};
  /// A mean of the column's whole shape (before the crop), any dtype; undefined: none. Not together with mean_values.
  Tensor mean = {};
  /// The side of a square cut out of each image: at a random place when `random`, else from the centre. 0: no crop.
  Dim crop = 0;
  /// Flips half of the images left to right, where `random`.
  bool mirror = false;
};

struct FeedOptions {
  /// Visit the examples of each epoch in a random order, a function of `seed` and the epoch.
  bool shuffle = false;
  std::uint64_t seed = 0;
  /// By column name.
  std::map<std::string, Transform> transforms = {};
  /// Whether crop and mirror are random (training) or fixed (testing).
  bool random = true;
  /// How many batches a thread prepares ahead; 0: no thread, each batch is made when asked for.
  int prefetch = 3;
};

/// Where a layer that feeds itself takes its tops from: its first top from the first column of the source, and so on.
/// A seed of 0 stands for the net's.
struct LayerFeed {
  SourcePtr source;
  FeedOptions options = {};
};

/// What a slot takes of its column.
enum class FeedPart : std::uint8_t {
  /// The examples, transformed, as F32 or F64.
  Values,
  /// The examples as they are stored, in the column's type: cropped and mirrored, but neither mean nor scale is
  /// applied.
  Stored,
  /// Where each example was cropped and whether it was mirrored: a slot [N, 3] of I32, the first row and column of the
  /// stored image that were taken, and 1 or 0.
  Placement,
};

/// A slot of a batch: the column it takes by name, and the shape [N, ...] and type it is wanted in.
struct FeedSlot {
  std::string name;
  Shape shape;
  DType dtype = DType::F32;
  FeedPart part = FeedPart::Values;
};

/// Turns a source into batches, over and over: batches run on across the end of an epoch as Caffe's do, so nothing is
/// dropped. Everything it yields is a pure function of (source, options, cursor).
class Feed {
 public:
  /// Throws DataError where a slot's column is missing (it names the columns there are), a shape does not fit (both
  /// shapes), or a transform cannot be applied. An example of count 1 fits a slot [N], [N, 1] and so on.
  Feed(SourcePtr source, std::vector<FeedSlot> slots, FeedOptions options);
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  /// Copies the next batch to `out`: one dense tensor for each slot, in order. Allocates nothing after the first call.
  /// What the source threw while the batch was prepared is thrown here.
  void next(std::span<Tensor> out);

  /// How many examples were given out. seek(cursor()) in another Feed over the same source and options goes on with
  /// the same batches.
  std::int64_t cursor() const;
  void seek(std::int64_t cursor);

  const DataSource& source() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparknet
