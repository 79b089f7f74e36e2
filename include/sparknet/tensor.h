#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "sparknet/device.h"
#include "sparknet/dtype.h"
#include "sparknet/element.h"
#include "sparknet/error.h"
#include "sparknet/shape.h"
#include "sparknet/tensor_view.h"

namespace sparknet {

/// An n-dimensional array: a shape, an element type and a device, all of them data, over storage in row-major order.
///
/// A Tensor is a handle. Copying one is cheap and shares the storage, so what is written through one copy is seen
/// through all; `copy()` gives storage of its own. Views (`slice`, `subarray`, `reshape`, `flatten`) share storage too.
/// Storage that the library allocates is aligned to 64 bytes and lives as long as any tensor that shares it; borrowed
/// storage is never freed.
///
/// A const Tensor gives no means to write to its elements: `view<float>()` of it is a `TensorView<const float>`. This
/// guards the name, not the storage: a copy of the handle is not const. As with shared_ptr, several threads may use
/// handles of their own to the same storage as long as nobody writes to the elements.
///
/// Integers: sums, differences, products, casts and `fill` saturate at the bounds of the type; nothing wraps.
///
/// Anything that touches the elements of a tensor that is not on the cpu throws DeviceError; shapes and views by shape
/// work on any device.
class Tensor {
 public:
  /// No memory, shape [0], f32. See `defined()`.
  Tensor() = default;
  /// Allocates and fills with zeros. Throws ShapeError for a negative dimension or more than 2^63 bytes, DeviceError
  /// for a device other than the cpu, Error if there is not enough memory.
  // A template so that in `Tensor({2})` the braces are a shape only, not a Tensor made from 2 as well.
  template <std::same_as<Shape> S = Shape>
  explicit Tensor(const S& shape, DType dtype = DType::F32, Device device = Device::cpu());

  /// A new tensor with these elements, in row-major order. Throws ShapeError unless there are as many as the shape
  /// holds.
  template <Element T>
  static Tensor from(const Shape& shape, std::span<const T> values);
  template <Element T>
  static Tensor from(const Shape& shape, std::initializer_list<T> values);
  template <Element T>
  static Tensor from(const Shape& shape, const std::vector<T>& values);

  /// A tensor over memory of the caller, who keeps it alive; row-major and dense. Throws ShapeError as the constructor
  /// does, Error for a null pointer or one that is not aligned to the element type.
  template <Element T>
  requires(!std::is_const_v<T>) static Tensor borrow(T* data, const Shape& shape);
  static Tensor borrow(void* data, const Shape& shape, DType dtype, Device device = Device::cpu());
  /// The same, but keeps `owner` alive as long as any tensor shares the memory.
  static Tensor share(
      std::shared_ptr<void> owner, void* data, const Shape& shape, DType dtype, Device device = Device::cpu());

  /// Whether there is memory: false for a default-constructed tensor and for one that has been moved from.
  bool defined() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::size_t rank() const { return shape_.size(); }
  /// The number of elements.
  Dim count() const { return shape_.count(); }
  /// The size of the elements; of a strided view without the gaps.
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype_); }
  /// Steps along each axis, in elements.
  std::span<const Dim> strides() const { return {strides_.data(), rank()}; }
  /// Whether the elements lie in row-major order without gaps.
  bool is_contiguous() const;
  /// The first element, on whatever device it is; null without memory.
  std::byte* raw() { return data_.get(); }
  const std::byte* raw() const { return data_.get(); }

  /// The elements by index. Throws DTypeError if T is not the element type.
  template <Element T>
  TensorView<T> view();
  template <Element T>
  TensorView<const T> view() const;
  /// The elements of a contiguous tensor in row-major order. Throws DTypeError if T is not the element type, ShapeError
  /// if the tensor is strided.
  template <Element T>
  std::span<T> span();
  template <Element T>
  std::span<const T> span() const;
  /// One element. Checks everything each time: take a `view()` for loops. Throws DTypeError, ShapeError.
  template <Element T, std::integral... I>
  T get(I... index) const;
  /// Writes one element: `t.set<float>(0.5, row, column)`. Throws DTypeError, ShapeError.
  template <Element T, std::integral... I>
  void set(std::type_identity_t<T> value, I... index);

  /// The part at one index of an axis, without that axis; a view. Throws ShapeError.
  template <std::integral A, std::integral I>
  Tensor slice(A axis, I index) const;
  /// The box from `lower` up to but not including `upper`, one number for each axis; a view. Throws ShapeError unless
  /// 0 <= lower <= upper <= shape.
  Tensor subarray(const Shape& lower, const Shape& upper) const;
  Tensor subarray(std::span<const Dim> lower, std::span<const Dim> upper) const;
  /// All elements along one axis: a view of a contiguous tensor, a copy of a strided one.
  Tensor flatten() const;
  /// Another shape over the same elements; a view. One dimension may be -1: it becomes what is left. Throws ShapeError
  /// if the counts differ or the tensor is strided.
  Tensor reshape(const Shape& shape) const;

  /// A contiguous tensor with storage of its own and the same elements.
  Tensor copy() const;
  /// A copy with elements of another type, converted as `saturate_cast` does.
  Tensor cast(DType dtype) const;

  /// Sets all elements to `value`, converted as `saturate_cast` does.
  Tensor& fill(double value);
  /// Writes the elements of `source` over these; either may be strided. Where the two overlap, the result is as if
  /// `source` had been copied first. Throws ShapeError, DTypeError unless shapes and types agree.
  Tensor& copy_from(const Tensor& source);
  /// Element by element, in place; `other` may overlap or be the tensor itself, as for `copy_from`. Integers saturate.
  /// Throws ShapeError, DTypeError unless shapes and types agree.
  Tensor& add(const Tensor& other);
  Tensor& subtract(const Tensor& other);
  /// In place. Floats: `factor` is first converted to the element type. Integers: computed as double, then converted as
  /// `saturate_cast` does.
  Tensor& multiply(double factor);
  /// In place. Floats: `divisor` is first converted to the element type. Integers: the quotient is truncated towards 0
  /// and saturates; a divisor of 0 throws Error.
  Tensor& divide(double divisor);

 private:
  struct Uninitialised {};
  Tensor(Uninitialised, const Shape& shape, DType dtype, Device device);

  std::string describe() const;
  void check_readable() const;
  void check_dtype(DType wanted) const;
  void check_contiguous() const;
  template <class T>
  T* elements() const;
  Tensor slice_at(Dim axis, Dim index) const;
  Tensor view_of(const Shape& shape, const Strides& strides, Dim offset) const;
  void check_pair(const Tensor& other, const char* verb, const char* preposition) const;
  bool is_same_view(const Tensor& other) const;
  bool overlaps(const Tensor& other) const;
  template <class F>
  Tensor& combine(const Tensor& other, F f);
  template <class F>
  Tensor combined(const Tensor& other, F f) const;

  friend Tensor plus(const Tensor& a, const Tensor& b);
  friend Tensor operator-(const Tensor& a, const Tensor& b);
  friend bool equal(const Tensor& a, const Tensor& b, double tolerance);
  friend std::string to_string(const Tensor& tensor);

  // Points to the first element and owns the storage behind it; owns nothing where memory is borrowed.
  std::shared_ptr<std::byte> data_;
  Shape shape_{0};
  Strides strides_{1};
  DType dtype_ = DType::F32;
  Device device_;
};

/// New tensors, element by element, with the rules of `add`, `subtract`, `multiply` and `divide`.
Tensor plus(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, double factor);
Tensor operator/(const Tensor& a, double divisor);

/// Whether shape and element type agree and no two elements differ by more than `tolerance`. NaN never equals anything,
/// itself included; an infinity equals itself.
bool equal(const Tensor& a, const Tensor& b, double tolerance = 0);
/// Whether shape, element type and all elements are the same.
bool operator==(const Tensor& a, const Tensor& b);

/// "Tensor f32 [2, 3]", then the elements in nested rows; of more than 1000 elements only those at the edges. Elements
/// that are not on the cpu are left out.
std::string to_string(const Tensor& tensor);
/// Writes `to_string(tensor)`.
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out, const Tensor& tensor) {
  return out << to_string(tensor);
}

}  // namespace sparknet

#include "sparknet/detail/tensor_impl.h"
#include "sparknet/detail/tensor_print.h"
