#pragma once

#include <filesystem>

#include "sparknet/data/source.h"

namespace sparknet {

/// MNIST in its IDX files, plain or `.gz` by content: columns "data" u8 [1, rows, columns] and "label" u8 [1].
/// Throws DataError for a missing or truncated file, a wrong magic number, counts that disagree and a label above 9.
SourcePtr read_mnist(const std::filesystem::path& images, const std::filesystem::path& labels);

/// The training set (60,000) or the test set (10,000) in a folder with the files' original names, each with or without
/// ".gz". Throws DataError that names what it looked for.
SourcePtr read_mnist_folder(const std::filesystem::path& folder, bool train);

}  // namespace sparknet
