#pragma once

#include <cmath>

#include "kernels/kernels.h"

namespace sparknet::kernels::cpu {

enum class Label { Good, Ignored, Bad };

/// Reads the number of a class; `number` holds only for Good.
template <class T>
Label read_label(T label, Index classes, bool has_ignore, Index ignore, Index& number) {
  const double value = static_cast<double>(label);
  if (has_ignore && value == static_cast<double>(ignore)) return Label::Ignored;
  // NaN fails the first comparison.
  if (!(value >= 0 && value < static_cast<double>(classes)) || value != std::floor(value)) return Label::Bad;
  number = static_cast<Index>(value);
  return Label::Good;
}

}  // namespace sparknet::kernels::cpu
