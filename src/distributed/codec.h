#pragma once

#include <cstddef>

#include "sparknet/distributed/contribution.h"

namespace sparknet::detail {

/// The bytes that `count` elements take up.
std::size_t coded_bytes(Codec codec, DType dtype, std::size_t count);

/// Writes `count` values, rounded, to `out`. With a residual: adds it to the values first and writes what rounding left
/// over to it. For the lossy codecs.
void write_rounded(Codec codec, const float* values, std::size_t count, float* residual, std::byte* out);

/// Reads what write_rounded() wrote.
void read_rounded(Codec codec, const std::byte* in, std::size_t count, float* values);

}  // namespace sparknet::detail
