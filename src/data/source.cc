#include "sparknet/data/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "src/data/check.h"

namespace sparknet {
namespace {

using detail::check_example;

void check_columns(const std::vector<Column>& columns, std::string_view maker) {
  if (columns.empty()) throw Error(fmt::format("{}: no columns were given, and at least one is wanted", maker));
  for (std::size_t i = 0; i < columns.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (columns[i].name == columns[j].name)
        throw Error(fmt::format("{}: two columns are called \"{}\"", maker, columns[i].name));
}

class TensorSource final : public DataSource {
 public:
  explicit TensorSource(std::vector<std::pair<std::string, Tensor>>&& named) {
    for (auto& [name, tensor] : named) {
      if (!tensor.defined()) throw ShapeError(fmt::format("from_tensors: column \"{}\" is an undefined tensor", name));
      if (tensor.device() != Device::cpu())
        throw DeviceError(
            fmt::format("from_tensors: column \"{}\" is on {}; copy it to the cpu", name, to_string(tensor.device())));
      const Shape& shape = tensor.shape();
      if (shape.empty())
        throw ShapeError(
            fmt::format("from_tensors: column \"{}\" is a scalar; its first dimension counts examples", name));
      if (!tensors_.empty() && shape[0] != size_)
        throw ShapeError(fmt::format(
            "from_tensors: column \"{}\" has {} examples and column \"{}\" has {}",
            columns_[0].name,
            size_,
            name,
            shape[0]));
      size_ = shape[0];
      columns_.push_back({name, Shape(std::span<const Dim>(shape.begin() + 1, shape.end())), tensor.dtype()});
      tensors_.push_back(tensor.is_contiguous() ? std::move(tensor) : tensor.copy());
    }
    check_columns(columns_, "from_tensors");
  }

  const std::vector<Column>& columns() const override { return columns_; }
  Dim size() const override { return size_; }

  const std::byte* example(Dim index, std::size_t column, std::byte*) const override {
    check_example(*this, index, column);
    return tensors_[column].raw() + static_cast<std::size_t>(index) * columns_[column].bytes();
  }

 private:
  std::vector<Column> columns_;
  std::vector<Tensor> tensors_;
  Dim size_ = 0;
};

class CallbackSource final : public DataSource {
 public:
  using Fill = std::function<void(Dim, std::span<std::byte* const>)>;

  CallbackSource(std::vector<Column> columns, Dim size, Fill fill)
      : columns_(std::move(columns)), size_(size), fill_(std::move(fill)) {
    check_columns(columns_, "from_callback");
    if (size < 0) throw ShapeError(fmt::format("from_callback: a source of {} examples", size));
    if (!fill_) throw Error("from_callback: the function is empty");
  }

  const std::vector<Column>& columns() const override { return columns_; }
  Dim size() const override { return size_; }

  const std::byte* example(Dim index, std::size_t column, std::byte* buffer) const override {
    check_example(*this, index, column);
    if (columns_.size() == 1) {
      fill_(index, {&buffer, 1});
      return buffer;
    }
    std::unique_ptr<Example> filled = take(index);
    if (filled->index != index) {
      filled->index = -1;
      fill_(index, filled->columns);
      filled->index = index;
    }
    std::memcpy(buffer, filled->columns[column], columns_[column].bytes());
    give_back(std::move(filled));
    return buffer;
  }

 private:
  /// A whole example: asked for its columns one after the other, it is made once.
  struct Example {
    Dim index = -1;
    std::unique_ptr<std::byte[]> memory;
    std::vector<std::byte*> columns;
  };

  std::unique_ptr<Example> take(Dim index) const {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto found = std::find_if(idle_.begin(), idle_.end(), [&](const auto& e) { return e->index == index; });
        if (found == idle_.end()) --found;
        std::swap(*found, idle_.back());
        std::unique_ptr<Example> example = std::move(idle_.back());
        idle_.pop_back();
        return example;
      }
    }
    constexpr std::size_t alignment = alignof(std::max_align_t);
    std::size_t bytes = 0;
    std::vector<std::size_t> offsets;
    for (const Column& column : columns_) {
      offsets.push_back(bytes);
      bytes += (column.bytes() + alignment - 1) / alignment * alignment;
    }
    auto example = std::make_unique<Example>();
    example->memory = std::make_unique<std::byte[]>(bytes);
    for (const std::size_t offset : offsets) example->columns.push_back(example->memory.get() + offset);
    return example;
  }

  void give_back(std::unique_ptr<Example> example) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(example));
  }

  std::vector<Column> columns_;
  Dim size_;
  Fill fill_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Example>> idle_;  // as many as threads ever asked at once
};

class PartSource final : public DataSource {
 public:
  PartSource(SourcePtr whole, Dim first, Dim size) : whole_(std::move(whole)), first_(first), size_(size) {}

  const std::vector<Column>& columns() const override { return whole_->columns(); }
  Dim size() const override { return size_; }

  const std::byte* example(Dim index, std::size_t column, std::byte* buffer) const override {
    check_example(*this, index, column);
    return whole_->example(first_ + index, column, buffer);
  }

 private:
  SourcePtr whole_;
  Dim first_, size_;
};

}  // namespace

int DataSource::column(std::string_view name) const {
  const std::vector<Column>& all = columns();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].name == name) return static_cast<int>(i);
  return -1;
}

SourcePtr from_tensors(std::vector<std::pair<std::string, Tensor>> columns) {
  return std::make_shared<TensorSource>(std::move(columns));
}

SourcePtr from_callback(
    std::vector<Column> columns, Dim size, std::function<void(Dim index, std::span<std::byte* const> out)> fill) {
  return std::make_shared<CallbackSource>(std::move(columns), size, std::move(fill));
}

SourcePtr partition(SourcePtr source, int index, int count) {
  if (!source) throw Error("partition: there is no source");
  if (count < 1 || index < 0 || index >= count)
    throw ShapeError(fmt::format("partition: part {} of {}; parts are numbered from 0 to count - 1", index, count));
  const Dim size = source->size();
  if (count > size)
    throw ShapeError(
        fmt::format("partition: {} parts of {} examples; a part would be empty, so take fewer parts", count, size));
  const Dim share = size / count, longer = size % count;  // the first `longer` parts have one example more
  const Dim first = index * share + std::min<Dim>(index, longer);
  return std::make_shared<PartSource>(std::move(source), first, share + (index < longer ? 1 : 0));
}

}  // namespace sparknet
