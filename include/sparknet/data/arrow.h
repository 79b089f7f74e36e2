#pragma once

#include <string>
#include <vector>

#include "sparknet/arrow_c.h"
#include "sparknet/data/source.h"

namespace sparknet {

/// A column of Arrow's as one of a source.
struct ArrowColumn {
  /// What the source calls it: as the RDDLayer that takes it.
  std::string name;
  /// What Arrow calls it; empty: the same.
  std::string column = {};
  /// Of one example; empty: one number.
  Shape shape = {};
  /// Above 0: labels, whole numbers from 0 to classes - 1.
  Dim classes = 0;
};

/// The record batches of a stream as one source, which keeps them for as long as it lives. A row is a number, bytes, or
/// a list (list, large_list, fixed_size_list) of numbers, of bytes or of such lists, and holds shape.count() numbers;
/// lists inside of lists are of one length all over the column. uint8, int32, float32 and float64 are read where Arrow
/// has them; other integers and bool become I32, and float16 becomes F32, each when its example is asked for. The
/// stream is taken over, and released, also where this throws. Throws ShapeError for a shape without elements, and
/// DataError: for a stream that fails or is malformed, a column that is missing, ambiguous or of another type, and, by
/// column and row (counted from 0 over all batches), for a null, a row of another size, an integer beyond I32 and a
/// label that is none.
SourcePtr from_arrow(ArrowArrayStream* stream, std::vector<ArrowColumn> columns);

}  // namespace sparknet
