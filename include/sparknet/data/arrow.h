#pragma once

#include <string>
#include <vector>

#include "sparknet/arrow_c.h"
#include "sparknet/data/source.h"

namespace sparknet {

/// A column of Arrow's as one of a source.
struct ArrowColumn {
  /// What the source calls it.
  std::string name;
  /// What Arrow calls it; empty: the same.
  std::string column = {};
  /// Of one example; empty: one number.
  Shape shape = {};
  /// Above 0: labels, whole numbers from 0 to classes - 1.
  Dim classes = 0;
};

/// The record batches of a stream as one source. A row is a number, bytes, or a list of numbers or of lists, of fixed
/// or of any size, with shape.count() numbers in it. u8, i32, f32 and f64 are read where Arrow has them; other integers
/// and booleans become I32 and f16 becomes F32, each when its example is asked for. The stream is taken over, and
/// released, also where this throws. Throws DataError that names Arrow's column and, counted over all batches, the row:
/// for a column that is missing or of another type, a null, a row of another size, an integer beyond I32, and a label
/// that is none.
SourcePtr from_arrow(ArrowArrayStream* stream, std::vector<ArrowColumn> columns);

}  // namespace sparknet
