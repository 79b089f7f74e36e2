#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sparknet/weights.h"

namespace sparknet::detail {

/// What a solver is in the middle of a run. In a file: the 8 bytes "SPKNSNAP", a u32 version, the u64 length of the
/// body, the body, and the CRC-32 of all bytes before it; every number little-endian.
struct Snapshot {
  std::string rule;
  std::int64_t iteration = 0;
  std::uint64_t seed = 0, passes = 0;
  /// Of the training data; -1: there was no feed.
  std::int64_t cursor = -1;
  std::vector<double> losses;
  WeightCollection weights;
  std::vector<WeightCollection> history;
};

void write_snapshot(const std::filesystem::path& file, const Snapshot& snapshot);
/// Throws DataError with the byte offset for anything that is not a whole snapshot.
Snapshot read_snapshot(const std::filesystem::path& file);
/// The same for the content of a file that is called `file` in messages.
Snapshot parse_snapshot(const std::string& file, std::span<const std::byte> bytes);

}  // namespace sparknet::detail
