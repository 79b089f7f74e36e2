#pragma once

#include <filesystem>

#include "sparknet/tensor.h"

namespace sparknet::caffe {

/// An array in a file of its own, Caffe's BlobProto, as the mean image of a data set is kept (`mean.binaryproto`): f32
/// or f64 and of the file's shape; files of old Caffes always have four dimensions. Throws DataError, with the byte
/// where it can be named, for a file that is something else, cut off or damaged.
Tensor read_blob(const std::filesystem::path& file);

/// Writes such a file, in the old form where there are four dimensions, so that every Caffe reads it. Elements other
/// than f64 become f32. The file is whole or not there; throws DataError where it cannot be written.
void write_blob(const std::filesystem::path& file, const Tensor& blob);

}  // namespace sparknet::caffe
