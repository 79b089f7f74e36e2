#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace sparknet::detail {

/// Writes a whole file or none: to a temporary name beside it, to the disk, then renamed over `file`.
/// Throws DataError that names the file and what the system said.
void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content);

}  // namespace sparknet::detail
