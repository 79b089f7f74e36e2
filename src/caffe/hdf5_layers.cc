#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <mutex>
#include <utility>

#include "sparknet/caffe/hdf5_data.h"
#include "sparknet/caffe/hdf5_output.h"
#include "src/caffe/data_layers.h"
#include "src/caffe/hdf5_file.h"
#include "src/caffe/lines.h"
#include "src/layers/common.h"

namespace sparknet::caffe {
namespace {

/// Files of rows: a file is read as a whole when a row of it is asked for, and as many stay as may.
class RowFiles {
 public:
  RowFiles(const std::vector<std::string>& files, const std::vector<std::string>& arrays, bool keep_all)
      : arrays_(arrays), most_(keep_all ? files.size() : 2) {
    for (const std::string& file : files) {
      const Hdf5Reader reader(file);
      Dim rows = -1;
      for (std::size_t i = 0; i < arrays.size(); ++i) {
        const Hdf5Reader::Info info = reader.info(arrays[i]);
        if (info.shape.empty()) reader.fail(arrays[i], "is a single number, and rows are wanted");
        if (rows >= 0 && info.shape[0] != rows)
          reader.fail(arrays[i], fmt::format("has {} rows and \"{}\" has {}", info.shape[0], arrays[0], rows));
        rows = info.shape[0];
        const Column column{
            arrays[i],
            Shape(std::span<const Dim>(info.shape.begin() + 1, info.shape.end())),
            info.dtype};
        if (columns.size() == i) columns.push_back(column);
        if (columns[i].shape != column.shape)
          reader.fail(
              arrays[i],
              fmt::format(
                  "has rows {}, and those of {} are {}",
                  to_string(column.shape),
                  files[0],
                  to_string(columns[i].shape)));
      }
      files_.push_back(file);
      Dim end = 0;
      if (__builtin_add_overflow(ends_.empty() ? Dim{0} : ends_.back(), rows, &end))
        reader.fail(arrays[0], "has too many rows");
      ends_.push_back(end);
    }
  }

  std::vector<Column> columns;
  Dim size() const { return ends_.back(); }

  void read(Dim index, std::span<std::byte* const> out) {
    const auto file = static_cast<std::size_t>(std::ranges::upper_bound(ends_, index) - ends_.begin());
    const std::shared_ptr<const std::vector<Tensor>> tensors = get(file);
    const auto row = static_cast<std::size_t>(file == 0 ? index : index - ends_[file - 1]);
    for (std::size_t i = 0; i < out.size(); ++i)
      std::memcpy(out[i], (*tensors)[i].raw() + row * columns[i].bytes(), columns[i].bytes());
  }

 private:
  std::shared_ptr<const std::vector<Tensor>> get(std::size_t file) {
    const std::lock_guard lock(mutex_);
    const auto known = std::ranges::find(kept_, file, &Kept::file);
    if (known != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, known);
      return known->tensors;
    }
    const Hdf5Reader reader(files_[file]);
    auto tensors = std::make_shared<std::vector<Tensor>>();
    const Dim rows = ends_[file] - (file == 0 ? 0 : ends_[file - 1]);
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      const Tensor& values = tensors->emplace_back(reader.read(arrays_[i], columns[i].dtype));
      if (values.shape()[0] != rows || values.count() != rows * columns[i].shape.count())
        reader.fail(arrays_[i], "the file was changed while it was in use");
    }
    if (kept_.size() >= most_) kept_.pop_back();
    kept_.push_front({file, tensors});
    return tensors;
  }

  struct Kept {
    std::size_t file;
    std::shared_ptr<const std::vector<Tensor>> tensors;
  };
  std::vector<std::string> arrays_, files_;
  std::vector<Dim> ends_;  // of each file, the number of rows up to its end
  std::size_t most_;
  std::mutex mutex_;
  std::list<Kept> kept_;  // the one used last is first
};

std::shared_ptr<RowFiles> open(const HDF5DataOptions& options, const std::vector<std::string>& arrays) {
  require(!options.source.empty(), "option .source is required: a file that lists .h5 files");
  std::vector<std::string> files;
  for (const TextLine& line : read_lines(options.source)) files.push_back(line.text);
  if (files.empty()) throw DataError(options.source, -1, "the list has no files");
  return std::make_shared<RowFiles>(files, arrays, options.shuffle);
}

class RunningHDF5Output final : public Layer {
 public:
  RunningHDF5Output(std::string file, std::vector<std::string> names)
      : file_(std::move(file)), names_(std::move(names)) {}
  ~RunningHDF5Output() override {
    if (!writer_) return;
    try {
      writer_->commit();
    } catch (const Error&) {  // nobody is there to hear of it; the file is missing
    }
  }

  void setup(LayerSetup& setup) override {
    setup.backward_reads(false, false);
    for (std::size_t i = 0; i < setup.bottom().size(); ++i) setup.no_gradient(i);
  }
  void forward(LayerIO& io) override {
    if (!writer_) writer_ = std::make_unique<Hdf5Writer>(file_);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (io.backend().on_host()) {
        writer_->append(names_[i], io.bottom(i));
        continue;
      }
      Tensor values(io.bottom(i).shape(), io.dtype());
      io.backend().read(values.raw(), io.bottom(i).raw(), values.bytes());
      writer_->append(names_[i], values);
    }
  }
  void backward(LayerIO&) override {}

 private:
  std::string file_;
  std::vector<std::string> names_;
  std::unique_ptr<Hdf5Writer> writer_;
};

}  // namespace

std::vector<Shape> HDF5DataLayer::infer(std::span<const Shape>, std::size_t tops) const {
  require_batch(options.batch_size, 0, 0);
  require(!datasets.empty(), "no dataset is named, and at least one is wanted");
  require(tops == datasets.size(), "{} tops for {} datasets", tops, datasets.size());
  return or_refuse([&] {
    std::vector<Shape> shapes;
    const std::shared_ptr<RowFiles> files = open(options, datasets);
    for (const Column& column : files->columns) {
      Shape& shape = shapes.emplace_back(Shape{options.batch_size});
      for (const Dim dim : column.shape) shape.push_back(dim);
    }
    return shapes;
  });
}

LayerFeed HDF5DataLayer::feed(Phase) const {
  std::shared_ptr<RowFiles> files = open(options, datasets);
  LayerFeed feed;
  feed.source = from_callback(files->columns, files->size(), [files](Dim index, std::span<std::byte* const> out) {
    files->read(index, out);
  });
  feed.options.shuffle = options.shuffle;
  return feed;
}

std::vector<Shape> HDF5OutputLayer::infer(std::span<const Shape> in) const {
  require(!options.file_name.empty(), "option .file_name is required");
  require(!in.empty(), "at least one bottom is wanted");
  for (const Shape& shape : in) require(!shape.empty(), "a bottom is a single number, and rows are wanted");
  return {};
}

std::unique_ptr<Layer> HDF5OutputLayer::make() const {
  std::vector<std::string> names(bottom.names().begin(), bottom.names().end());
  if (names.size() == 2) names = {"data", "label"};
  return std::make_unique<RunningHDF5Output>(options.file_name, std::move(names));
}

}  // namespace sparknet::caffe
