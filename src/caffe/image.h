#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sparknet/caffe/database.h"
#include "sparknet/shape.h"

namespace sparknet::caffe {

/// Planes of bytes [channels, height, width]; colours are blue, green, red, as OpenCV has them.
struct Image {
  Dim channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> planes;
};

/// A PNG or JPEG, told apart by how it begins. Throws DataError, with `name` as the file.
Image decode_image(const std::string& name, std::span<const std::byte> bytes, DecodeAs as);

/// Bilinear, with OpenCV's numbers (11 bits of fraction).
Image resize_image(const Image& image, Dim height, Dim width);

}  // namespace sparknet::caffe
