#pragma once

#include <charconv>
#include <cstddef>
#include <string>

#include "sparknet/tensor.h"

namespace sparknet {

namespace detail {

inline constexpr Dim print_limit = 1000;
inline constexpr Dim print_edge = 3;

template <class T>
void print_element(std::string& text, T value) {
  char buffer[32];
  std::to_chars_result end{};
  if constexpr (std::is_floating_point_v<T>)
    end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 6);
  else
    end = std::to_chars(buffer, buffer + sizeof buffer, value);
  text.append(buffer, end.ptr);
}

/// Rows of the innermost axis on a line each, as `[[1, 2],\n [3, 4]]`.
template <class T>
void print_axis(std::string& text, const TensorView<const T>& view, std::size_t axis, const T* data, bool all) {
  const Shape& shape = view.shape();
  if (axis == shape.size()) return print_element(text, *data);
  const bool innermost = axis + 1 == shape.size();
  const std::string separator = innermost ? ", " : ",\n" + std::string(axis + 1, ' ');
  const bool shortened = !all && shape[axis] > 2 * print_edge;
  text += '[';
  for (Dim i = 0; i < shape[axis]; ++i) {
    if (i > 0) text += separator;
    if (shortened && i == print_edge) {
      text += "..." + separator;
      i = shape[axis] - print_edge;
    }
    print_axis(text, view, axis + 1, data + i * view.strides()[axis], all);
  }
  text += ']';
}

}  // namespace detail

inline std::string to_string(const Tensor& tensor) {
  if (!tensor.defined() && tensor.count() > 0) return "Tensor without memory, moved from";
  std::string text = std::string("Tensor ") + to_string(tensor.dtype()) + " " + to_string(tensor.shape());
  if (tensor.device() != Device::cpu()) return text + " on " + to_string(tensor.device());
  text += '\n';
  if (tensor.count() == 0) return text + "[]";
  dispatch(tensor.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const TensorView<const T> view = tensor.view<T>();
    detail::print_axis(text, view, 0, view.data(), tensor.count() <= detail::print_limit);
  });
  return text;
}

}  // namespace sparknet
