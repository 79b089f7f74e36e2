#pragma once

#include <cstddef>

/// How often any thread of this program has allocated memory by operator new so far (under a sanitizer: in any way). A
/// test takes the difference of two readings.
std::size_t allocations();
