#pragma once

#include <cstddef>
#include <span>

#include "sparknet/dtype.h"

namespace sparknet::detail {

/// What one member brings to a sum: where its elements begin, and their factor. 0: nothing is added.
struct Addend {
  const std::byte* values;
  double scale;
};

/// Writes (((s0 v0 + s1 v1) + s2 v2) + ...) / divisor of `count` elements to each of `results`, which may be the
/// addends themselves, in one pass over the memory. Each product and sum is rounded to the element type.
void ordered_mean(
    DType dtype, std::size_t count, std::span<const Addend> addends, double divisor,
    std::span<std::byte* const> results);

}  // namespace sparknet::detail
