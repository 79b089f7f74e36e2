#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sparknet/error.h"

namespace sparknet {

using Dim = std::int64_t;

/// The sizes of a tensor, outermost first. Takes integers of any type, so `{batch.size(), 1}` is fine.
/// A value of fixed size: copying allocates nothing. The shape with no dimensions is a scalar's and has one element.
class Shape {
 public:
  static constexpr std::size_t max_rank = 12;

  Shape() = default;
  template <std::integral... I>
  requires(sizeof...(I) > 0 && sizeof...(I) <= max_rank) Shape(I... dims)
      : dims_{static_cast<Dim>(dims)...}, rank_(sizeof...(I)) {}
  /// Throws ShapeError for more than `max_rank` dimensions.
  explicit Shape(std::span<const Dim> dims);

  std::size_t size() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  Dim operator[](std::size_t axis) const { return dims_[axis]; }
  Dim& operator[](std::size_t axis) { return dims_[axis]; }
  const Dim* begin() const { return dims_.data(); }
  const Dim* end() const { return dims_.data() + rank_; }

  /// The product of dimensions [first, last); 1 for none.
  Dim count(std::size_t first, std::size_t last) const;
  Dim count(std::size_t first = 0) const { return count(first, rank_); }

  void push_back(Dim dim);

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }

 private:
  std::array<Dim, max_rank> dims_{};
  std::size_t rank_ = 0;
};

/// "[64, 1, 28, 28]"
inline std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

inline Shape::Shape(std::span<const Dim> dims) : rank_(dims.size()) {
  if (dims.size() > max_rank)
    throw ShapeError(
        "a shape holds at most " + std::to_string(max_rank) + " dimensions, not " + std::to_string(dims.size()));
  for (std::size_t i = 0; i < rank_; ++i) dims_[i] = dims[i];
}

inline Dim Shape::count(std::size_t first, std::size_t last) const {
  Dim product = 1;
  for (std::size_t i = first; i < last && i < rank_; ++i) product *= dims_[i];
  return product;
}

inline void Shape::push_back(Dim dim) {
  if (rank_ >= max_rank) throw ShapeError("a shape holds at most " + std::to_string(max_rank) + " dimensions");
  dims_[rank_++] = dim;
}

}  // namespace sparknet
