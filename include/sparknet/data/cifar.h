#pragma once

#include <filesystem>
#include <vector>

#include "sparknet/data/source.h"

namespace sparknet {

/// CIFAR-10's binary version, plain or `.gz` by content: columns "data" u8 [3, 32, 32] (RGB planes) and "label" u8 [1].
/// Throws DataError for a missing file, a length that is no multiple of 3073 bytes, and a label above 9.
SourcePtr read_cifar10(const std::vector<std::filesystem::path>& files);

}  // namespace sparknet
