#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "sparknet/caffe/database.h"
#include "sparknet/dtype.h"

namespace sparknet::caffe {

/// What a Datum holds: its shape, type and label, and its bytes until the next one is read.
class DatumReader {
 public:
  explicit DatumReader(DecodeAs decode);
  ~DatumReader();
  DatumReader(const DatumReader&) = delete;
  DatumReader& operator=(const DatumReader&) = delete;

  /// Throws DataError, with `name` as the file, where the bytes are no Datum or its parts do not go together.
  void read(const std::string& name, std::span<const std::byte> bytes);

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int32_t label() const { return label_; }
  std::span<const std::byte> values() const { return values_; }

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
  DecodeAs decode_;
  Shape shape_;
  DType dtype_ = DType::U8;
  std::int32_t label_ = 0;
  std::span<const std::byte> values_;
};

}  // namespace sparknet::caffe
