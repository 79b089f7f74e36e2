#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sparknet/dtype.h"
#include "sparknet/shape.h"
#include "sparknet/tensor.h"

namespace sparknet {

/// A named column of examples: the shape and type of one example's part.
struct Column {
  std::string name;
  Shape shape;
  DType dtype = DType::F32;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.count()) * size_of(dtype); }
  bool operator==(const Column&) const = default;
};

/// A finite, indexed collection of examples with named columns. Immutable: many threads read it at once.
class DataSource {
 public:
  virtual ~DataSource() = default;

  virtual const std::vector<Column>& columns() const = 0;
  /// The number of examples.
  virtual Dim size() const = 0;
  /// The bytes of column number `column` of example `index`: in memory of the source's own, or written to `buffer`,
  /// which holds columns()[column].bytes(), and `buffer` returned. Throws ShapeError for an index outside of the
  /// source.
  virtual const std::byte* example(Dim index, std::size_t column, std::byte* buffer) const = 0;

  /// The number of the column called `name`, or -1.
  int column(std::string_view name) const;
};

using SourcePtr = std::shared_ptr<const DataSource>;

/// Examples in memory: one tensor for each column, its first dimension the examples.
/// `from_tensors({{"data", images}, {"label", labels}})` takes [N, 1, 28, 28] and [N, 1]. The tensors are shared, not
/// copied. Throws ShapeError where the numbers of examples disagree.
SourcePtr from_tensors(std::vector<std::pair<std::string, Tensor>> columns);

/// Examples made by a function: `fill(index, out)` writes example `index` to out[column], whose bytes() are as in
/// `columns`. It must be a pure function of the index and safe to call from several threads.
SourcePtr from_callback(
    std::vector<Column> columns, Dim size, std::function<void(Dim index, std::span<std::byte* const> out)> fill);

/// Part `index` of `count` of a source: consecutive examples, the sizes of any two parts differ by at most one.
SourcePtr partition(SourcePtr source, int index, int count);

}  // namespace sparknet
