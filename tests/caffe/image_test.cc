#include "src/caffe/image.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/resource.h>
#ifdef SPARKNET_WITH_PNG
#include <zlib.h>
#endif

#include <cstdlib>

#include "sparknet/error.h"
#include "tests/caffe/image_files.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string refusal(const std::string& file) {
  try {
    decode_image("pic", bytes_of(file), DecodeAs::Native);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("images are told apart by how they begin") {
  CHECK(refusal("GIF89a") == "pic: is neither a PNG nor a JPEG");
  CHECK(refusal("") == "pic: is neither a PNG nor a JPEG");
}

#ifdef SPARKNET_WITH_PNG
TEST_CASE("a PNG becomes planes of blue, green and red, or of gray") {
  const std::vector<std::uint8_t> color = {1, 2, 3, 40, 50, 60, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9};  // 2 x 3
  const std::string file = png_file(color, 2, 3, 3);
  for (const DecodeAs as : {DecodeAs::Native, DecodeAs::Color}) {
    const Image image = decode_image("pic", bytes_of(file), as);
    CHECK(image.channels == 3);
    CHECK(image.height == 2);
    CHECK(image.width == 3);
    CHECK(image.planes == std::vector<std::uint8_t>{1, 40, 255, 0, 0, 9, 2, 50, 0, 255, 0, 9, 3, 60, 0, 0, 255, 9});
  }
  // 0.114 blue + 0.587 green + 0.299 red.
  CHECK(decode_image("pic", bytes_of(file), DecodeAs::Gray).planes == std::vector<std::uint8_t>{2, 52, 29, 150, 76, 9});

  const std::string gray = png_file({7, 8, 9, 200}, 2, 2, 1);
  CHECK(decode_image("pic", bytes_of(gray), DecodeAs::Native).planes == std::vector<std::uint8_t>{7, 8, 9, 200});
  CHECK(
      decode_image("pic", bytes_of(gray), DecodeAs::Color).planes ==
      std::vector<std::uint8_t>{7, 8, 9, 200, 7, 8, 9, 200, 7, 8, 9, 200});
  const std::string clear = png_file({1, 2, 3, 128, 4, 5, 6, 7}, 1, 2, 4);
  CHECK(decode_image("pic", bytes_of(clear), DecodeAs::Native).channels == 4);
  CHECK(decode_image("pic", bytes_of(clear), DecodeAs::Color).planes == std::vector<std::uint8_t>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("a PNG of one color is small, and good") {
  const std::string file = png_file(std::vector<std::uint8_t>(2000 * 2000, 128), 2000, 2000, 1);
  CHECK(decode_image("pic", bytes_of(file), DecodeAs::Native).planes.size() == 2000 * 2000);
  CHECK(decode_image("pic", bytes_of(file), DecodeAs::Color).planes.size() == 3 * 2000 * 2000);
}

TEST_CASE("a PNG that only says it is large is refused, and its texts are not unpacked") {
  const std::string small = png_file({7}, 1, 1, 1);
  const auto chunk = [](const std::string& type_and_data) {
    const auto big_endian = [](std::size_t value) {
      std::string bytes;
      for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 255));
      return bytes;
    };
    const auto* data = reinterpret_cast<const Bytef*>(type_and_data.data());
    return big_endian(type_and_data.size() - 4) + type_and_data +
           big_endian(crc32(0, data, static_cast<uInt>(type_and_data.size())));
  };
  constexpr std::size_t header = 8, after_header = 8 + 25;
  std::string large = small.substr(header + 4, 17);
  large.replace(4, 8, std::string("\0\0\x27\x10\0\0\x75\x30", 8));
  CHECK(
      refusal(small.substr(0, header) + chunk(large) + small.substr(after_header)) ==
      fmt::format("pic: is a PNG of 10000 x 30000 pixels in {} bytes", small.size()));

  const std::vector<Bytef> text(7 << 20, 'x');
  std::vector<Bytef> packed(compressBound(text.size()));
  uLongf size = packed.size();
  REQUIRE(compress2(packed.data(), &size, text.data(), text.size(), 9) == Z_OK);
  std::string texts;
  for (int i = 0; i < 40; ++i)
    texts += chunk(std::string("zTXta\0\0", 7) + std::string(reinterpret_cast<const char*>(packed.data()), size));
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const std::string file = small.substr(0, after_header) + texts + small.substr(after_header);
  CHECK(decode_image("pic", bytes_of(file), DecodeAs::Native).planes == std::vector<std::uint8_t>{7});
  getrusage(RUSAGE_SELF, &after);
  CHECK(after.ru_maxrss - before.ru_maxrss < 100 << 10);  // KiB; all texts are 280 MiB
}

TEST_CASE("a damaged PNG is refused wherever it is cut or changed") {
  std::vector<std::uint8_t> pixels(30 * 20 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i % 253);
  const std::string file = png_file(pixels, 20, 30, 3);
  for (std::size_t size = 8; size < file.size(); size += 7)
    CHECK(refusal(file.substr(0, size)).starts_with("pic: is a damaged PNG: "));
  std::string large = file;
  large[18] = '\x7f';  // of the width; its checksum is wrong then
  CHECK(refusal(large).starts_with("pic: is a damaged PNG: "));
}
#endif

#ifdef SPARKNET_WITH_JPEG
TEST_CASE("a JPEG becomes planes of blue, green and red, or of gray") {
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 16 * 24; ++i) pixels.insert(pixels.end(), {20, 120, 220});
  const std::string file = jpeg_file(pixels, 16, 24, 3);
  const Image color = decode_image("pic", bytes_of(file), DecodeAs::Native);
  CHECK(color.channels == 3);
  CHECK(color.height == 16);
  CHECK(color.width == 24);
  REQUIRE(color.planes.size() == 3 * 16 * 24);
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(std::abs(color.planes[c * 384 + 100] - static_cast<int>(20 + c * 100)) <= 2);
  const Image gray = decode_image("pic", bytes_of(file), DecodeAs::Gray);
  CHECK(gray.channels == 1);
  CHECK(std::abs(gray.planes[5] - 139) <= 2);  // 2.28 + 70.44 + 65.78

  const std::string one = jpeg_file(std::vector<std::uint8_t>(64, 77), 8, 8, 1);
  CHECK(decode_image("pic", bytes_of(one), DecodeAs::Native).channels == 1);
  CHECK(decode_image("pic", bytes_of(one), DecodeAs::Color).planes == std::vector<std::uint8_t>(192, 77));
  for (std::size_t size = 3; size < file.size() - 2; size += 11)
    CHECK(refusal(file.substr(0, size)).starts_with("pic: is a damaged JPEG: "));
}
#endif

TEST_CASE("resizing is bilinear between the centres of pixels") {
  const Image image{1, 2, 2, {0, 100, 200, 60}};
  CHECK(resize_image(image, 2, 2).planes == image.planes);
  // At 0, 1/4, 3/4 and 1 of the way, in both directions.
  CHECK(
      resize_image(image, 4, 4).planes ==
      std::vector<std::uint8_t>{0, 25, 75, 100, 50, 60, 80, 90, 150, 130, 90, 70, 200, 165, 95, 60});
  CHECK(resize_image(image, 1, 1).planes == std::vector<std::uint8_t>{90});
  CHECK(resize_image({2, 1, 3, {10, 20, 30, 1, 2, 3}}, 1, 1).planes == std::vector<std::uint8_t>{20, 2});
  CHECK(resize_image({1, 1, 1, {77}}, 2, 3).planes == std::vector<std::uint8_t>(6, 77));
}
