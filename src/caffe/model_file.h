#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "sparknet/caffe/weights.h"

namespace sparknet::caffe {

/// Whether a file begins as HDF5's do.
bool is_hdf5(std::span<const std::byte> bytes);
bool is_hdf5(const std::filesystem::path& file);

/// read_model for the content of a file that is called `file` in messages.
Model parse_model(const std::string& file, std::span<const std::byte> bytes);

}  // namespace sparknet::caffe
