#include "src/caffe/datum.h"

#include <fmt/format.h>

#include "sparknet/error.h"
#include "src/caffe/image.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

struct DatumReader::Memory {
  proto::Datum datum;
  Image image;
};

DatumReader::DatumReader(DecodeAs decode) : memory_(std::make_unique<Memory>()), decode_(decode) {}
DatumReader::~DatumReader() = default;

void DatumReader::read(const std::string& name, std::span<const std::byte> bytes) {
  proto::Datum& datum = memory_->datum;
  parse(name, bytes, datum);
  label_ = datum.label();
  if (datum.encoded()) {
    memory_->image = decode_image(name, std::as_bytes(std::span(datum.data())), decode_);
    const Image& image = memory_->image;
    shape_ = {image.channels, image.height, image.width};
    dtype_ = DType::U8;
    values_ = std::as_bytes(std::span(image.planes));
    return;
  }
  shape_ = {datum.channels(), datum.height(), datum.width()};
  Dim count = 1;
  for (const Dim dim : shape_)
    if (dim < 1 || __builtin_mul_overflow(count, dim, &count))
      throw DataError(name, -1, fmt::format("has the impossible shape {}", to_string(shape_)));
  // As Caffe: `data` where there is any.
  const bool raw = !datum.data().empty();
  const auto found = static_cast<Dim>(raw ? datum.data().size() : static_cast<std::size_t>(datum.float_data_size()));
  if (found != count)
    throw DataError(
        name,
        -1,
        fmt::format(
            "has shape {}, which is {} values, and {} are there{}",
            to_string(shape_),
            count,
            found,
            raw ? "; is it an image that is not marked as encoded?" : ""));
  dtype_ = raw ? DType::U8 : DType::F32;
  if (raw)
    values_ = std::as_bytes(std::span(datum.data()));
  else
    values_ = std::as_bytes(std::span(datum.float_data().data(), static_cast<std::size_t>(count)));
}

}  // namespace sparknet::caffe
