#pragma once

// Images as files, made by the libraries that the tests are linked with.

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef SPARKNET_WITH_PNG
#include <png.h>

/// `pixels` is [height, width, channels], of which 1 is gray, 3 is blue, green, red and 4 has transparency.
inline std::string png_file(const std::vector<std::uint8_t>& pixels, unsigned height, unsigned width, int channels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = channels == 1 ? PNG_FORMAT_GRAY : channels == 3 ? PNG_FORMAT_BGR : PNG_FORMAT_BGRA;
  png_alloc_size_t size = 0;
  if (!png_image_write_get_memory_size(image, size, 0, pixels.data(), 0, nullptr)) throw std::runtime_error("PNG");
  std::string file(size, '\0');
  if (!png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, nullptr))
    throw std::runtime_error("PNG");
  file.resize(size);
  return file;
}
#endif

#ifdef SPARKNET_WITH_JPEG
#include <turbojpeg.h>

inline std::string jpeg_file(const std::vector<std::uint8_t>& pixels, int height, int width, int channels) {
  tjhandle handle = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const bool gray = channels == 1;
  const int failed = tjCompress2(
      handle,
      pixels.data(),
      width,
      0,
      height,
      gray ? TJPF_GRAY : TJPF_BGR,
      &bytes,
      &size,
      gray ? TJSAMP_GRAY : TJSAMP_444,
      100,
      0);
  std::string file(reinterpret_cast<const char*>(bytes), failed ? 0 : size);
  tjFree(bytes);
  tjDestroy(handle);
  if (failed) throw std::runtime_error("JPEG");
  return file;
}
#endif
