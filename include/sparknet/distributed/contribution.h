#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sparknet/distributed/round.h"
#include "sparknet/tensor.h"
#include "sparknet/weights.h"

namespace sparknet {

/// Where a worker stands in its data and its random numbers. `cursor` -1: it has no feed.
struct WorkerState {
  int worker = 0;
  std::int64_t cursor = 0;
  std::uint64_t passes = 0;

  bool operator==(const WorkerState&) const = default;
};

/// What the sums of a contribution are of: the weights a round ended with, which are exact, or their differences from
/// those it began with (start - end), which are small and bear compression.
enum class Carries : std::uint8_t { Weights, Differences };

/// What one or more workers made of a round: a weighted sum and what was counted on the way. Contribution{} is the
/// identity of merge(), which is commutative and, but for the rounding of sums, associative.
struct Contribution {
  /// A hash of the layout of the sums (schema_of), and the round's number.
  std::uint64_t schema = 0;
  std::int64_t round = 0;
  Carries carries = Carries::Weights;
  /// How many workers count, and how many were left out because their weights were not finite.
  int workers = 0, rejected = 0;
  /// The sum of the workers' weights, each above 0; `unit` is that of the first, in which `sums` is counted: one
  /// worker's sums are its values themselves, and equal workers' are added as they are. 0 where no worker counts.
  double weight = 0, unit = 0;
  /// The sums over all workers, rejected ones too, and the most that one of them made.
  std::int64_t steps = 0, examples = 0, most_steps = 0;
  /// Over those that count.
  double loss_sum = 0;
  std::int64_t loss_steps = 0;
  /// The weighted sum of |end - start|^2.
  double squares = 0;
  /// In training: the sum over the workers and the longest.
  double seconds = 0, most_seconds = 0;
  /// Of each worker, in the order of their numbers.
  std::vector<WorkerState> states = {};
  /// The parameter arena and, where the history is averaged, each slot of it: all f32 or all f64. Empty where no worker
  /// counts.
  std::vector<Tensor> sums = {};
  /// Which part of the sums is here: number `slice` of `slices`, as sparknet::slice() makes them. `whole` holds the
  /// number of elements of each whole sum; empty where slices is 1.
  int slice = 0, slices = 1;
  std::vector<Dim> whole = {};

  /// Adds another, in the memory of `sums`, in the order of the workers' numbers. Shares no memory with `other`. Throws
  /// Error and changes nothing where schema, round, kind or slice differ and where a worker is in both, as a task that
  /// ran twice would be. Contribution{} goes with every slice.
  void merge(const Contribution& other);
  /// The weighted mean: sums[i] / (weight / unit). Throws Error where no worker counts.
  Tensor mean(std::size_t index = 0) const;
};

/// The sum in the order of the parts' first workers, and the same bits in whatever order the parts come. It is written
/// over the sums of one of the parts, which are no good afterwards: move the parts here.
Contribution merge(std::vector<Contribution> parts);

/// Part number `index` of `count` of a whole contribution, which shares its memory: all that was counted, and of each
/// sum as many elements as any other part has, to a multiple of 256, and the last what is left. Slices of the same
/// number merge as whole contributions do; joined, the merged slices are what merging the whole ones yields, bit for
/// bit. So the sum of many large contributions can be made in many places. Slices of small sums may be empty. Throws
/// Error for a slice of a slice, and where there is no such number.
Contribution slice(const Contribution& whole, int index, int count);

/// Puts the slices of one contribution together, in whatever order they come. Each is copied to its place and may go
/// then, so that joining takes the memory of one whole contribution, which the first slice makes, and of a slice.
class ContributionJoiner {
 public:
  /// Throws Error, and changes nothing, for a slice that came already and for one of another contribution: of another
  /// number of slices, schema, round or kind, of other workers, or of another run of theirs, which counts otherwise.
  void add(const Contribution& slice);
  bool complete() const { return !came_.empty() && left_ == 0; }
  /// The whole contribution; the joiner is empty again. Throws Error where a slice has not come, naming the first.
  Contribution take();

 private:
  Contribution whole_;
  std::vector<bool> came_;
  std::size_t left_ = 0;
};

/// A hash (FNV-1a) of names, shapes and the element type, which say whether two arenas can be added.
std::uint64_t schema_of(const std::vector<ParamInfo>& layout, DType dtype);

/// How a sum's elements are written: as they are; as the upper half of an f32 (rounded to nearest even); or as a
/// multiple of an f32 for each 256 of them, -127 to 127. The last two are for f32 differences, and for the first sum
/// alone: a history is written as it is.
enum class Codec : std::uint8_t { Exact, BF16, Int8 };

struct EncodeOptions {
  Codec codec = Codec::Exact;
  /// What rounding left over is added to the next contribution of the same worker: as many f32 as the first sum holds,
  /// zeros at first, changed by encode() with a lossy codec. Undefined: it is lost.
  Tensor residual = {};
  /// Each chunk is decoded and checked for itself.
  std::size_t elements_in_chunk = std::size_t{1} << 18;
};

/// Writes a contribution piece by piece: a header, then the chunks of each sum in order. The header is "SPKNCONT", a
/// u32 version, the u32 length of its body, the body, and the CRC-32 of all that; a chunk is the u32 number of the sum,
/// the u64 number of its first element, how many as a u32, the elements, and the CRC-32 of all that. Every number is
/// little-endian. Throws Error for a lossy codec of weights or of f64.
void encode(
    const Contribution& contribution, const EncodeOptions& options,
    const std::function<void(std::span<const std::byte>)>& sink);
std::vector<std::byte> encode(const Contribution& contribution, const EncodeOptions& options = {});

/// Reads what encode() wrote. Throws DataError, which names `source` and the byte offset, for bytes that are not a
/// whole contribution; nothing is allocated before its size was checked.
Contribution decode(std::span<const std::byte> bytes, const std::string& source = "contribution");

}  // namespace sparknet
