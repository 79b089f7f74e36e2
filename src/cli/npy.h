#pragma once

#include <filesystem>

#include "sparknet/tensor.h"
#include "src/io/atomic_file.h"

namespace sparknet::cli {

/// Rows of f32 as NumPy keeps them. The file is whole or not there: until commit() it has a temporary name.
class NpyWriter {
 public:
  /// `shape` is that of the whole array.
  NpyWriter(std::filesystem::path file, const Shape& shape);
  void append(const Tensor& rows);
  void commit();

 private:
  detail::AtomicFile file_;
};

}  // namespace sparknet::cli
