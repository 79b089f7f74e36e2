#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sparknet/distributed/round.h"
#include "sparknet/weights.h"
#include "src/io/atomic_file.h"
#include "src/io/file.h"

namespace sparknet::detail {

/// What a group of workers, or a master, is between two rounds, but for the tensors. In a file: the 8 bytes "SPKNGRUP",
/// a u32 version, the u64 length of this, this, the tensors' elements, and the CRC-32 of all before; little-endian. The
/// tensors are the weights; those of `outer_tensors`; where the history is averaged its slots; then of each worker its
/// own weights (`own_weights`) and, where the history is kept, its slots.
struct GroupSnapshot {
  struct Worker {
    bool present = false;
    /// Of its net; 0: a master wrote this, who does not know.
    std::uint64_t seed = 0;
    std::uint64_t passes = 0;
    std::int64_t cursor = -1;
  };

  std::string rule = {}, outer = {}, schedule = {};
  DType dtype = DType::F32;
  SolverHistory history = SolverHistory::Keep;
  bool own_weights = false;
  std::uint32_t slots = 0;
  std::int64_t iteration = 0;
  /// Center::numbers().
  std::vector<double> numbers = {};
  std::vector<Worker> workers = {};
  std::vector<ParamInfo> layout = {};
  /// Elements of a parameter arena.
  Dim arena = 0;
  std::vector<std::pair<DType, Dim>> outer_tensors = {};

  /// Where worker `rank` of `workers` goes on: where it was or, if that is not known or the group was another, as far
  /// in its part of the data as the old workers were together.
  Worker resumed(int rank, int workers, int iter_size) const;

  std::vector<std::byte> header() const;
  /// Throws DataError for what is none. `file` is its name in messages.
  static GroupSnapshot parse(const std::string& file, std::span<const std::byte> header);
  /// Throws DataError where the other, which is of the run that reads this, differs in what must agree.
  void require_fits(const std::string& file, const GroupSnapshot& run) const;
};

class GroupSnapshotWriter {
 public:
  GroupSnapshotWriter(const std::filesystem::path& file, const GroupSnapshot& snapshot);
  void tensor(const Tensor& values);
  void commit();

 private:
  void write(std::span<const std::byte> bytes);

  AtomicFile file_;
  std::uint32_t checksum_ = 0;
};

/// The header of what is a whole snapshot; throws DataError for what is none. `file` is its name in messages.
std::span<const std::byte> checked_header(const std::string& file, std::span<const std::byte> bytes);

/// Reads the whole file, and checks all of it, when made.
class GroupSnapshotReader {
 public:
  explicit GroupSnapshotReader(const std::filesystem::path& file);
  std::span<const std::byte> header() const { return header_; }
  void tensor(Tensor& values);

 private:
  File file_;
  std::span<const std::byte> header_;
  /// Of the file, behind the tensors that were read.
  std::span<const std::byte> left_;
};

}  // namespace sparknet::detail
