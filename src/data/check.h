#pragma once

#include <cstddef>
#include <string>

#include "sparknet/data/source.h"
#include "sparknet/error.h"

namespace sparknet::detail {

/// Throws ShapeError unless `source` has an example `index` and a column number `column`.
inline void check_example(const DataSource& source, Dim index, std::size_t column) {
  if (index < 0 || index >= source.size())
    throw ShapeError("example " + std::to_string(index) + " of a source of " + std::to_string(source.size()));
  if (column >= source.columns().size())
    throw ShapeError(
        "column number " + std::to_string(column) + " of a source of " + std::to_string(source.columns().size()));
}

}  // namespace sparknet::detail
