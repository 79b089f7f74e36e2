#pragma once

#include <cstdint>
#include <string>

namespace sparknet {

/// What a sum over labels is divided by: all labels, those that are not ignored, the examples of the batch, or 1. Never
/// by less than 1.
enum class Normalization : std::uint8_t { Full, Valid, BatchSize, None };
/// "Normalization::Valid"
std::string to_text(Normalization value);

}  // namespace sparknet
