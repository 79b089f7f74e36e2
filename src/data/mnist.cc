#include "sparknet/data/mnist.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "src/data/check.h"
#include "src/io/file.h"

namespace sparknet {
namespace {

using detail::check_example;
using detail::File;

constexpr std::uint32_t image_magic = 0x00000803, label_magic = 0x00000801;
constexpr std::size_t image_header = 16, label_header = 8;

void check_header(const File& file, std::size_t header, std::uint32_t magic, std::string_view kind) {
  if (file.size() < 4) file.fail(file.size(), fmt::format("the file ends inside of its magic number, 0x{:08x}", magic));
  const std::uint32_t found = file.big_endian(0);
  if (found != magic) {
    std::string_view guess;
    if (found == image_magic) guess = "; is it an image file?";
    if (found == label_magic) guess = "; is it a label file?";
    file.fail(0, fmt::format("magic is 0x{:08x} and {} file has 0x{:08x}{}", found, kind, magic, guess));
  }
  if (file.size() < header)
    file.fail(file.size(), fmt::format("the file ends inside of its header, and {} file's has {} bytes", kind, header));
  if (file.big_endian(4) == 0) file.fail(4, "the header promises 0 examples, and a source has at least one");
}

/// Checks that `count` records of `record` bytes, and nothing else, follow the header.
void check_length(const File& file, std::size_t header, std::uint64_t count, std::uint64_t record, std::string what) {
  const std::uint64_t held = file.size() - header;
  if (held / record < count)
    file.fail(
        file.size(),
        fmt::format(
            "the file ends after {} of the {} {} its header promises; fetch the file again",
            held / record,
            count,
            what));
  const std::uint64_t extra = held - count * record;
  if (extra > 0)
    file.fail(
        file.size() - extra,
        fmt::format("the file goes on for {} bytes after the {} {} its header promises", extra, count, what));
}

class MnistSource final : public DataSource {
 public:
  MnistSource(File images, File labels) : images_(std::move(images)), labels_(std::move(labels)) {
    check_header(images_, image_header, image_magic, "an image");
    const std::uint32_t count = images_.big_endian(4);
    const std::uint64_t rows = images_.big_endian(8), width = images_.big_endian(12);
    if (rows == 0) images_.fail(8, "the header promises images of 0 rows");
    if (width == 0) images_.fail(12, "the header promises images of 0 columns");
    check_length(images_, image_header, count, rows * width, fmt::format("images of {} x {} that", rows, width));

    check_header(labels_, label_header, label_magic, "a label");
    const std::uint32_t label_count = labels_.big_endian(4);
    check_length(labels_, label_header, label_count, 1, "labels that");
    if (label_count != count)
      labels_.fail(
          4,
          fmt::format(
              "{} labels, and {} has {} images; take two files of one set",
              label_count,
              images_.name(),
              count));
    for (std::size_t i = 0; i < count; ++i)
      if (labels_[label_header + i] > 9)
        labels_.fail(
            label_header + i,
            fmt::format("the label of example {} is {} and labels are 0 to 9", i, labels_[label_header + i]));

    size_ = count;
    image_bytes_ = static_cast<std::size_t>(rows * width);
    columns_ = {{"data", Shape{1, rows, width}, DType::U8}, {"label", Shape{1}, DType::U8}};
  }

  const std::vector<Column>& columns() const override { return columns_; }
  Dim size() const override { return size_; }

  const std::byte* example(Dim index, std::size_t column, std::byte*) const override {
    check_example(*this, index, column);
    const std::size_t i = static_cast<std::size_t>(index);
    return reinterpret_cast<const std::byte*>(
        column == 0 ? images_.data() + image_header + i * image_bytes_ : labels_.data() + label_header + i);
  }

 private:
  File images_, labels_;
  std::vector<Column> columns_;
  Dim size_ = 0;
  std::size_t image_bytes_ = 0;
};

std::filesystem::path find(const std::filesystem::path& folder, const std::string& name) {
  std::error_code ignored;
  for (const std::string& candidate : {name, name + ".gz"})
    if (std::filesystem::exists(folder / candidate, ignored)) return folder / candidate;
  throw DataError(folder.string(), -1, fmt::format("neither {0} nor {0}.gz is in this folder", name));
}

}  // namespace

SourcePtr read_mnist(const std::filesystem::path& images, const std::filesystem::path& labels) {
  return std::make_shared<MnistSource>(File(images), File(labels));
}

SourcePtr read_mnist_folder(const std::filesystem::path& folder, bool train) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) throw DataError(folder.string(), -1, "there is no such folder");
  const std::string set = train ? "train" : "t10k";
  return read_mnist(find(folder, set + "-images-idx3-ubyte"), find(folder, set + "-labels-idx1-ubyte"));
}

}  // namespace sparknet
