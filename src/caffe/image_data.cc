#include "sparknet/caffe/image_data.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <utility>

#include "src/caffe/image.h"
#include "src/caffe/lines.h"
#include "src/layers/common.h"

namespace sparknet::caffe {
namespace {

struct Entry {
  std::string path;
  std::int32_t label;
};

Image load(const Entry& entry, const ImageDataOptions& options) {
  const detail::File file(entry.path);
  Image image = decode_image(
      entry.path,
      std::as_bytes(std::span(file.data(), file.size())),
      options.is_color ? DecodeAs::Color : DecodeAs::Gray);
  if (options.new_height > 0) return resize_image(image, options.new_height, options.new_width);
  return image;
}

}  // namespace

SourcePtr read_image_list(const ImageDataOptions& options) {
  require(!options.source.empty(), "option .source is required: a file that lists images and labels");
  require(
      options.new_height >= 0 && options.new_width >= 0 && (options.new_height > 0) == (options.new_width > 0),
      "options .new_height and .new_width are both given or both not; they are {} and {}",
      options.new_height,
      options.new_width);
  require(
      options.new_height <= 65536 && options.new_width <= 65536,
      "options .new_height and .new_width are at most 65536; they are {} and {}",
      options.new_height,
      options.new_width);
  std::vector<Entry> entries;
  for (const TextLine& line : read_lines(options.source)) {
    const std::size_t space = line.text.find_last_of(" \t");  // paths may have spaces
    Entry entry{options.root_folder + line.text.substr(0, space), 0};
    const char* const begin = line.text.data() + (space == std::string::npos ? 0 : space + 1);
    const char* const end = line.text.data() + line.text.size();
    const auto [stopped, error] = std::from_chars(begin, end, entry.label);
    if (space == std::string::npos || error != std::errc() || stopped != end)
      throw DataError(
          options.source,
          -1,
          fmt::format("line {}: a path, a space and a label are wanted, and it is \"{}\"", line.number, line.text));
    entry.path.erase(entry.path.find_last_not_of(" \t") + 1);
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) throw DataError(options.source, -1, "the list has no images");

  const Image first = load(entries[0], options);
  const Shape shape = {first.channels, first.height, first.width};
  const auto size = static_cast<Dim>(entries.size());
  const std::string one = entries[0].path;
  return from_callback(
      {{"data", shape, DType::U8}, {"label", Shape{1}, DType::I32}},
      size,
      [entries = std::move(entries), shape, options, one](Dim index, std::span<std::byte* const> out) {
        const Entry& entry = entries[static_cast<std::size_t>(index)];
        const Image image = load(entry, options);
        if (const Shape found = {image.channels, image.height, image.width}; found != shape)
          throw DataError(
              entry.path,
              -1,
              fmt::format(
                  "is {} and {} is {}; give .new_height and .new_width",
                  to_string(found),
                  one,
                  to_string(shape)));
        std::memcpy(out[0], image.planes.data(), image.planes.size());
        std::memcpy(out[1], &entry.label, sizeof entry.label);
      });
}

}  // namespace sparknet::caffe
