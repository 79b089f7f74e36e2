#include "sparknet/data/cifar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "src/data/check.h"
#include "src/io/file.h"

namespace sparknet {
namespace {

using detail::check_example;
using detail::File;

constexpr std::size_t record_bytes = 1 + 3 * 32 * 32;

class CifarSource final : public DataSource {
 public:
  explicit CifarSource(const std::vector<std::filesystem::path>& paths) {
    for (const std::filesystem::path& path : paths) {
      const File& file = files_.emplace_back(path);
      const std::size_t count = file.size() / record_bytes, extra = file.size() % record_bytes;
      if (extra > 0)
        file.fail(
            count * record_bytes,
            fmt::format(
                "{} bytes after {} whole records of {} bytes; is it CIFAR-10's binary version, and complete?",
                extra,
                count,
                record_bytes));
      for (std::size_t i = 0; i < count; ++i)
        if (file[i * record_bytes] > 9)
          file.fail(
              i * record_bytes,
              fmt::format("the label of record {} is {} and labels are 0 to 9", i, file[i * record_bytes]));
      ends_.push_back(size() + static_cast<Dim>(count));
    }
  }

  const std::vector<Column>& columns() const override { return columns_; }
  Dim size() const override { return ends_.empty() ? 0 : ends_.back(); }

  const std::byte* example(Dim index, std::size_t column, std::byte*) const override {
    check_example(*this, index, column);
    const std::size_t file = static_cast<std::size_t>(std::ranges::upper_bound(ends_, index) - ends_.begin());
    const std::size_t record = static_cast<std::size_t>(file == 0 ? index : index - ends_[file - 1]);
    return reinterpret_cast<const std::byte*>(files_[file].data() + record * record_bytes + (column == 0 ? 1 : 0));
  }

 private:
  std::vector<Column> columns_ = {{"data", Shape{3, 32, 32}, DType::U8}, {"label", Shape{1}, DType::U8}};
  std::vector<File> files_;
  std::vector<Dim> ends_;  // of each file, the number of examples up to its end
};

}  // namespace

SourcePtr read_cifar10(const std::vector<std::filesystem::path>& files) {
  if (files.empty()) throw DataError("CIFAR-10", -1, "no files were given, and at least one is wanted");
  return std::make_shared<CifarSource>(files);
}

}  // namespace sparknet
