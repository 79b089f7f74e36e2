#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "sparknet/element.h"
#include "sparknet/error.h"
#include "sparknet/shape.h"

namespace sparknet {

/// Steps from one element to the next along each axis, in elements.
using Strides = std::array<Dim, Shape::max_rank>;

namespace detail {

[[noreturn]] inline void throw_bad_index(std::span<const Dim> index, const Shape& shape) {
  std::string text = "index [";
  for (std::size_t i = 0; i < index.size(); ++i) text += (i ? ", " : "") + std::to_string(index[i]);
  text += "] ";
  if (index.size() == shape.size()) throw ShapeError(text + "is outside of shape " + to_string(shape));
  throw ShapeError(
      text + "has rank " + std::to_string(index.size()) + ", shape " + to_string(shape) + " has rank " +
      std::to_string(shape.size()));
}

inline Dim offset_of(const Shape& shape, const Strides& strides, std::span<const Dim> index) {
  bool inside = index.size() == shape.size();
  std::uint64_t offset = 0;
  for (std::size_t i = 0; inside && i < index.size(); ++i) {
    // As unsigned numbers negative ones are too large, and products wrap instead of overflowing.
    inside = static_cast<std::uint64_t>(index[i]) < static_cast<std::uint64_t>(shape[i]);
    offset += static_cast<std::uint64_t>(index[i]) * static_cast<std::uint64_t>(strides[i]);
  }
  if (!inside) throw_bad_index(index, shape);
  return static_cast<Dim>(offset);
}

}  // namespace detail

/// The elements of a tensor as values of type T, addressed by index. Does not own them: the tensor it comes from, or
/// another that shares its storage, must live as long. Cheap to index; take it once outside of a loop.
template <Element T>
class TensorView {
 public:
  TensorView(T* data, const Shape& shape, const Strides& strides) : data_(data), shape_(shape), strides_(strides) {}
  /// A view for writing is one for reading too.
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) TensorView(const TensorView<U>& other)
      : TensorView(other.data(), other.shape(), other.strides()) {}

  /// The element at an index, one integer for each axis. Throws ShapeError if the index is outside of the shape or of
  /// another rank.
  template <std::integral... I>
  T& operator()(I... index) const {
    const std::array<Dim, sizeof...(I)> dims{static_cast<Dim>(index)...};
    return data_[detail::offset_of(shape_, strides_, dims)];
  }
  /// The same with a rank known at run time.
  T& at(std::span<const Dim> index) const { return data_[detail::offset_of(shape_, strides_, index)]; }

  const Shape& shape() const { return shape_; }
  /// Steps in elements; only the first `shape().size()` mean anything.
  const Strides& strides() const { return strides_; }
  /// The first element.
  T* data() const { return data_; }

 private:
  T* data_;
  Shape shape_;
  Strides strides_;
};

}  // namespace sparknet
