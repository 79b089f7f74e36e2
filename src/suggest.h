#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sparknet {

/// `; did you mean "pool1"?` of the name nearest to `wanted` by edit distance, or "" where none is near enough to be
/// what was meant.
std::string did_you_mean(std::string_view wanted, std::span<const std::string> names);

}  // namespace sparknet
