#include "src/caffe/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <memory>

#include "sparknet/error.h"

#ifdef SPARKNET_WITH_PNG
#include <png.h>
#endif
#ifdef SPARKNET_WITH_JPEG
#include <turbojpeg.h>
#endif

namespace sparknet::caffe {
namespace {

[[maybe_unused]] constexpr std::size_t most_bytes = std::size_t{1} << 30;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw DataError(name, -1, why);
}

/// Pixels [height, width, `stored` bytes] as planes of the first `channels` of them.
[[maybe_unused]] Image planes_of(
    const std::vector<std::uint8_t>& pixels, std::size_t stored, std::size_t channels, std::size_t height,
    std::size_t width) {
  Image image{static_cast<Dim>(channels), static_cast<Dim>(height), static_cast<Dim>(width), {}};
  const std::size_t area = height * width;
  image.planes.resize(channels * area);
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t i = 0; i < area; ++i) image.planes[c * area + i] = pixels[i * stored + c];
  return image;
}

#ifdef SPARKNET_WITH_PNG
struct PngInput {
  const std::byte* at;
  std::size_t left;
  char why[128];
};

/// libpng leaves a failed call by a jump, over nothing that has a destructor: `pixels` and `rows` are the caller's.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  PngInput input{};
  /// Bytes of a row as the file has it.
  std::size_t stored_row = 0;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }

  static void read(png_structp png, png_bytep to, png_size_t size) {
    auto& in = *static_cast<PngInput*>(png_get_io_ptr(png));
    if (size > in.left) png_error(png, "the file ends too early");
    std::memcpy(to, in.at, size);
    in.at += size;
    in.left -= size;
  }
  static void failed(png_structp png, png_const_charp why) {
    auto& in = *static_cast<PngInput*>(png_get_error_ptr(png));
    std::snprintf(in.why, sizeof in.why, "%s", why);
    std::longjmp(png_jmpbuf(png), 1);
  }
  static void ignore(png_structp, png_const_charp) {}

  bool header(bool color) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_info(png, info);
    stored_row = png_get_rowbytes(png, info);
    png_set_strip_16(png);
    png_set_packing(png);
    png_set_expand(png);
    png_set_bgr(png);
    if (color) png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
  }
  bool pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_read_image(png, rows);
    png_read_end(png, nullptr);
    return true;
  }
};

Image decode_png(const std::string& name, std::span<const std::byte> bytes, DecodeAs as) {
  PngReader reader;
  reader.input = {bytes.data(), bytes.size(), {}};
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader.input, PngReader::failed, PngReader::ignore);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) refuse(name, "libpng cannot begin");
  png_set_chunk_cache_max(reader.png, 1);  // texts, which are packed too, are skipped
  png_set_read_fn(reader.png, &reader.input, PngReader::read);
  if (!reader.header(as == DecodeAs::Color)) refuse(name, fmt::format("is a damaged PNG: {}", reader.input.why));

  const std::size_t height = png_get_image_height(reader.png, reader.info);
  const std::size_t width = png_get_image_width(reader.png, reader.info);
  const std::size_t stored = png_get_channels(reader.png, reader.info);
  // Deflate packs what is stored at most 1032 to 1.
  if (height * width * stored > most_bytes || height * reader.stored_row / 1100 > bytes.size())
    refuse(name, fmt::format("is a PNG of {} x {} pixels in {} bytes", width, height, bytes.size()));
  std::vector<std::uint8_t> pixels(height * width * stored);
  std::vector<png_bytep> rows(height);
  for (std::size_t y = 0; y < height; ++y) rows[y] = pixels.data() + y * width * stored;
  if (!reader.pixels(rows.data())) refuse(name, fmt::format("is a damaged PNG: {}", reader.input.why));

  if (as == DecodeAs::Color) return planes_of(pixels, stored, 3, height, width);
  if (as == DecodeAs::Native) return planes_of(pixels, stored, stored == 2 ? 1 : stored, height, width);
  if (stored < 3) return planes_of(pixels, stored, 1, height, width);
  Image image{1, static_cast<Dim>(height), static_cast<Dim>(width), std::vector<std::uint8_t>(height * width)};
  for (std::size_t i = 0; i < image.planes.size(); ++i) {
    const std::uint8_t* p = pixels.data() + i * stored;  // weights of 14 bits, as OpenCV's
    image.planes[i] = static_cast<std::uint8_t>((p[0] * 1868 + p[1] * 9617 + p[2] * 4899 + 8192) >> 14);
  }
  return image;
}
#else
Image decode_png(const std::string& name, std::span<const std::byte>, DecodeAs) {
  refuse(
      name,
      "is a PNG, and this library was built without it (Debian: apt-get install libpng-dev, then build again)");
}
#endif

#ifdef SPARKNET_WITH_JPEG
Image decode_jpeg(const std::string& name, std::span<const std::byte> bytes, DecodeAs as) {
  const std::unique_ptr<void, int (*)(tjhandle)> reader(tjInitDecompress(), tjDestroy);
  if (!reader) refuse(name, "libjpeg-turbo cannot begin");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, sampling = 0, space = 0;
  if (tjDecompressHeader3(reader.get(), data, bytes.size(), &width, &height, &sampling, &space) != 0 || width < 1 ||
      height < 1)
    refuse(name, fmt::format("is a damaged JPEG: {}", tjGetErrorStr2(reader.get())));
  if (space == TJCS_CMYK || space == TJCS_YCCK) refuse(name, "is a JPEG in CMYK; red, green and blue are wanted");
  const bool gray = as == DecodeAs::Gray || (as == DecodeAs::Native && space == TJCS_GRAY);
  const std::size_t channels = gray ? 1 : 3, h = static_cast<std::size_t>(height), w = static_cast<std::size_t>(width);
  // A block of 8 x 8 takes a bit or more.
  if (h * w * channels > most_bytes || h * w / 1100 > bytes.size())
    refuse(name, fmt::format("is a JPEG of {} x {} pixels in {} bytes", width, height, bytes.size()));
  std::vector<std::uint8_t> pixels(h * w * channels);
  const int format = gray ? TJPF_GRAY : TJPF_BGR;
  int flags = TJFLAG_ACCURATEDCT;
#ifdef TJFLAG_LIMITSCANS
  flags |= TJFLAG_LIMITSCANS;
#endif
  if (tjDecompress2(reader.get(), data, bytes.size(), pixels.data(), width, 0, height, format, flags) != 0) {
    // Strange bytes between the parts of a file are common, and do no harm.
    const std::string why = tjGetErrorStr2(reader.get());
    if (tjGetErrorCode(reader.get()) != TJERR_WARNING || why.find("Premature end") != std::string::npos)
      refuse(name, "is a damaged JPEG: " + why);
  }
  return planes_of(pixels, channels, channels, h, w);
}
#else
Image decode_jpeg(const std::string& name, std::span<const std::byte>, DecodeAs) {
  refuse(
      name,
      "is a JPEG, and this library was built without it (Debian: apt-get install libturbojpeg0-dev, then build again)");
}
#endif

bool begins(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

/// Where the output's pixels lie in the input's: the one before, and how much of the one after, in 2048ths.
struct Place {
  Dim first, second;
  int weight;
};

std::vector<Place> places(Dim from, Dim to, bool clear_at_ends) {
  std::vector<Place> all;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (Dim i = 0; i < to; ++i) {
    float at = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    Dim first = static_cast<Dim>(std::floor(at));
    at -= static_cast<float>(first);
    if (clear_at_ends && (first < 0 || first >= from - 1)) at = 0;
    const auto clip = [&](Dim x) { return std::clamp<Dim>(x, 0, from - 1); };
    all.push_back({clip(first), clip(first + 1), static_cast<int>(std::lrint(at * 2048))});
  }
  return all;
}

}  // namespace

Image decode_image(const std::string& name, std::span<const std::byte> bytes, DecodeAs as) {
  if (begins(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(name, bytes, as);
  if (begins(bytes, "\xff\xd8\xff")) return decode_jpeg(name, bytes, as);
  refuse(name, "is neither a PNG nor a JPEG");
}

Image resize_image(const Image& image, Dim height, Dim width) {
  if (image.height == height && image.width == width) return image;
  const std::vector<Place> xs = places(image.width, width, true), ys = places(image.height, height, false);
  Image result{image.channels, height, width, {}};
  result.planes.reserve(static_cast<std::size_t>(image.channels * height * width));
  for (Dim c = 0; c < image.channels; ++c) {
    const std::uint8_t* plane = image.planes.data() + c * image.height * image.width;
    for (const Place& y : ys) {
      const std::uint8_t* above = plane + y.first * image.width;
      const std::uint8_t* below = plane + y.second * image.width;
      for (const Place& x : xs) {
        const auto across = [&](const std::uint8_t* row) {
          return (row[x.first] * (2048 - x.weight) + row[x.second] * x.weight) >> 4;
        };
        const int sum = (((2048 - y.weight) * across(above)) >> 16) + ((y.weight * across(below)) >> 16);
        result.planes.push_back(static_cast<std::uint8_t>((sum + 2) >> 2));
      }
    }
  }
  return result;
}

}  // namespace sparknet::caffe
