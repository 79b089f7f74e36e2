#pragma once

#include <cstddef>
#include <limits>
#include <vector>

namespace sparknet {

/// A piece of memory that a net needs from step `first` to step `last`, both included.
struct Lifetime {
  static constexpr int forever = std::numeric_limits<int>::max();

  std::size_t bytes;
  int first, last;
  /// Set by plan_memory: where the piece lies, and the last step before which nobody else writes there.
  std::size_t offset = 0;
  int intact_until = forever;
};

/// Gives each piece an offset so that pieces whose lives overlap do not, and returns the bytes in all. Greedy by size:
/// the largest first, each at the lowest free offset (Pisarchyk and Lee 2020, "greedy by size for offset calculation").
std::size_t plan_memory(std::vector<Lifetime>& pieces);

}  // namespace sparknet
