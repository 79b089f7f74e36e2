#include "src/cli/npy.h"

#include <fmt/format.h>

#include <bit>
#include <span>
#include <string>
#include <utility>

namespace sparknet::cli {

static_assert(std::endian::native == std::endian::little, "<f4 is written as it lies in memory");

NpyWriter::NpyWriter(std::filesystem::path file, const Shape& shape) : file_(std::move(file)) {
  std::string sides;
  for (const Dim side : shape) sides += fmt::format("{}, ", side);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sides);
  // Magic, version, length, header and a line's end fill multiples of 64 bytes.
  const std::size_t before = 10, all = (before + header.size() + 1 + 63) / 64 * 64;
  header.resize(all - before - 1, ' ');
  header += '\n';
  std::string text = "\x93NUMPY";
  text += {'\1', '\0', static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
  text += header;
  file_.write(std::as_bytes(std::span(text)));
}

void NpyWriter::append(const Tensor& rows) {
  const Tensor values = rows.dtype() == DType::F32 ? rows : rows.cast(DType::F32);
  file_.write(std::as_bytes(values.span<const float>()));
}

void NpyWriter::commit() {
  file_.commit();
}

}  // namespace sparknet::cli
