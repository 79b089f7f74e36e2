#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sparknet/weights.h"
#include "src/io/bytes.h"

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

/// How the snapshot of a group begins (src/distributed/group_snapshot.h).
constexpr std::string_view group_magic = "SPKNGRUP";

void write_layout(ByteWriter& out, const std::vector<ParamInfo>& layout);
/// Offsets are without gaps; `end` is that behind the last parameter.
std::vector<ParamInfo> read_layout(ByteReader& in, Dim& end);

void write_snapshot(const std::filesystem::path& file, const Snapshot& snapshot);
/// Throws DataError with the byte offset for anything that is not a whole snapshot.
Snapshot read_snapshot(const std::filesystem::path& file);
/// The same for the content of a file that is called `file` in messages.
Snapshot parse_snapshot(const std::string& file, std::span<const std::byte> bytes);

}  // namespace sparknet::detail
