#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sparknet {

/// The name nearest to `wanted` by edit distance, or "" where none is near enough to be what was meant.
std::string nearest_name(std::string_view wanted, std::span<const std::string> names);

/// `; did you mean "pool1"?`, or "".
std::string did_you_mean(std::string_view wanted, std::span<const std::string> names);

}  // namespace sparknet
