#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "sparknet/tensor.h"

namespace sparknet::testing {

inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float infinity = std::numeric_limits<float>::infinity();

/// 0, 1, 2, ... in row-major order.
inline Tensor counting(const Shape& shape, DType dtype = DType::F32) {
  Tensor tensor(shape, DType::I32);
  auto values = tensor.span<std::int32_t>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i);
  return tensor.cast(dtype);
}

/// The elements in row-major order.
template <class T>
std::vector<T> values(const Tensor& tensor) {
  const Tensor dense = tensor.copy();
  const auto span = dense.span<T>();
  return {span.begin(), span.end()};
}

inline Tensor floats(std::initializer_list<float> list) {
  return Tensor::from({list.size()}, list);
}

using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;
using Ints = std::vector<std::int32_t>;

}  // namespace sparknet::testing
