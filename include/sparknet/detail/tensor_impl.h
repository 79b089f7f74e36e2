#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "sparknet/detail/strided.h"
#include "sparknet/tensor.h"

namespace sparknet {

namespace detail {

inline constexpr std::size_t storage_alignment = 64;

/// The bytes of a dense tensor. Throws ShapeError for a negative dimension or where 63 bits do not count them,
/// DTypeError for a type that no tensor there has.
inline std::size_t checked_bytes(const Shape& shape, DType dtype, Device device = Device::cpu()) {
  const auto size = static_cast<Dim>(size_of(dtype));
  if (device == Device::cpu() || size == 0) dispatch(dtype, [](auto) {});  // which says so
  for (const Dim dim : shape)
    if (dim < 0) throw ShapeError("shape " + to_string(shape) + " has a negative dimension");
  Dim limit = std::numeric_limits<Dim>::max() / size;
  // Zeros count as ones, so that no product of some of the dimensions overflows either.
  for (const Dim dim : shape) limit /= dim > 1 ? dim : 1;
  if (limit == 0)
    throw ShapeError("shape " + to_string(shape) + " of " + to_string(dtype) + " needs more than 2^63 - 1 bytes");
  return static_cast<std::size_t>(shape.count() * size);
}

inline Strides dense_strides(const Shape& shape) {
  Strides strides{};
  Dim step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) strides[axis] = step;
  return strides;
}

inline std::shared_ptr<std::byte> allocate(const Shape& shape, DType dtype) {
  const std::size_t bytes = checked_bytes(shape, dtype);
  try {
    void* data = ::operator new (bytes, std::align_val_t{storage_alignment});
    return {static_cast<std::byte*>(data), [](std::byte* p) {
              ::operator delete (p, std::align_val_t{storage_alignment});
            }};
  } catch (const std::bad_alloc&) {
    throw Error(
        "not enough memory: a tensor " + std::string(to_string(dtype)) + " " + to_string(shape) + " needs " +
        std::to_string(bytes) + " bytes");
  }
}

/// "a f32 tensor", "an i32 tensor"
inline std::string a_tensor_of(DType dtype) {
  return std::string(dtype == DType::I32 ? "an " : "a ") + to_string(dtype) + " tensor";
}

inline constexpr auto saturating_sum = []<class T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a + b;
  } else if constexpr (sizeof(T) < sizeof(std::int32_t)) {
    return saturate_cast<T>(std::int32_t{a} + std::int32_t{b});
  } else {
    const auto sum = static_cast<T>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
    const T bound = a < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    return ((a ^ sum) & (b ^ sum)) < 0 ? bound : sum;
  }
};

inline constexpr auto saturating_difference = []<class T>(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a - b;
  } else if constexpr (sizeof(T) < sizeof(std::int32_t)) {
    return saturate_cast<T>(std::int32_t{a} - std::int32_t{b});
  } else {
    const auto difference = static_cast<T>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
    const T bound = a < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    return ((a ^ b) & (a ^ difference)) < 0 ? bound : difference;
  }
};

template <class T, class Same>
bool all_same(const Shape& shape, Operand<const T> a, Operand<const T> b, Same same) {
  constexpr Dim block = 1024;  // early exit between blocks, none inside, so that a block vectorises
  const Rows<2> rows(shape, {a.strides, b.strides});
  bool all = true;
  rows.for_each([&](const std::array<Dim, 2>& at) {
    for (Dim start = 0; all && start < rows.length(); start += block) {
      const Dim end = start + block < rows.length() ? start + block : rows.length();
      int differences = 0;
      if (rows.is_dense()) {
        const T *x = a.data + at[0], *y = b.data + at[1];
        for (Dim i = start; i < end; ++i) differences |= same(x[i], y[i]) ? 0 : 1;
      } else {
        for (Dim i = start; i < end; ++i)
          differences |= same(a.data[at[0] + i * rows.step(0)], b.data[at[1] + i * rows.step(1)]) ? 0 : 1;
      }
      all = differences == 0;
    }
    return all;
  });
  return all;
}

}  // namespace detail

inline Tensor::Tensor(Uninitialised, const Shape& shape, DType dtype, Device device)
    : shape_(shape), dtype_(dtype), device_(device) {
  if (device != Device::cpu())
    throw DeviceError(
        "cannot allocate a tensor on " + to_string(device) + "; tensors own memory of the cpu only, borrow() the rest");
  data_ = detail::allocate(shape, dtype);
  strides_ = detail::dense_strides(shape);
}

template <std::same_as<Shape> S>
Tensor::Tensor(const S& shape, DType dtype, Device device) : Tensor(Uninitialised{}, shape, dtype, device) {
  std::memset(data_.get(), 0, bytes());
}

template <Element T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  detail::checked_bytes(shape, dtype_of<T>);
  if (static_cast<std::size_t>(shape.count()) != values.size())
    throw ShapeError(
        "shape " + to_string(shape) + " holds " + std::to_string(shape.count()) + " elements, not " +
        std::to_string(values.size()));
  Tensor tensor(Uninitialised{}, shape, dtype_of<T>, Device::cpu());
  if (!values.empty()) std::memcpy(tensor.data_.get(), values.data(), values.size_bytes());
  return tensor;
}

template <Element T>
Tensor Tensor::from(const Shape& shape, std::initializer_list<T> values) {
  return from(shape, std::span<const T>(values.begin(), values.size()));
}

template <Element T>
Tensor Tensor::from(const Shape& shape, const std::vector<T>& values) {
  return from(shape, std::span<const T>(values));
}

template <Element T>
requires(!std::is_const_v<T>) Tensor Tensor::borrow(T* data, const Shape& shape) {
  return borrow(data, shape, dtype_of<T>);
}

inline Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, Device device) {
  return share(nullptr, data, shape, dtype, device);
}

inline Tensor Tensor::share(std::shared_ptr<void> owner, void* data, const Shape& shape, DType dtype, Device device) {
  const std::size_t bytes = detail::checked_bytes(shape, dtype, device);
  if (data == nullptr && bytes > 0)
    throw Error(std::string("a null pointer cannot be borrowed as ") + to_string(dtype) + " " + to_string(shape));
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(dtype) != 0)
    throw Error(
        std::string("memory borrowed as ") + to_string(dtype) + " must be aligned to " +
        std::to_string(size_of(dtype)) + " bytes");
  Tensor tensor;
  tensor.data_ = std::shared_ptr<std::byte>(std::move(owner), static_cast<std::byte*>(data));
  tensor.shape_ = shape;
  tensor.strides_ = detail::dense_strides(shape);
  tensor.dtype_ = dtype;
  tensor.device_ = device;
  return tensor;
}

inline bool Tensor::is_contiguous() const {
  Dim step = 1;
  bool dense = true;
  for (std::size_t axis = rank(); axis-- > 0; step *= shape_[axis]) {
    if (shape_[axis] == 0) return true;
    dense = dense && (shape_[axis] == 1 || strides_[axis] == step);
  }
  return dense;
}

inline std::string Tensor::describe() const {
  return std::string("tensor ") + to_string(dtype_) + " " + to_string(shape_);
}

inline void Tensor::check_readable() const {
  if (device_ != Device::cpu())
    throw DeviceError("the " + describe() + " is on " + to_string(device_) + "; this call reads memory of the cpu");
  if (data_ == nullptr && count() > 0) throw Error("the " + describe() + " has no memory: it has been moved from");
}

inline void Tensor::check_dtype(DType wanted) const {
  if (dtype_ != wanted) throw DTypeError(detail::a_tensor_of(dtype_) + " cannot be viewed as " + to_string(wanted));
}

inline void Tensor::check_contiguous() const {
  if (is_contiguous()) return;
  throw ShapeError(
      "the " + describe() + " is not contiguous (strides " + to_string(Shape(strides())) + "); copy() it first");
}

template <class T>
T* Tensor::elements() const {
  return reinterpret_cast<T*>(data_.get());
}

template <Element T>
TensorView<T> Tensor::view() {
  check_dtype(dtype_of<std::remove_const_t<T>>);
  check_readable();
  return {elements<T>(), shape_, strides_};
}

template <Element T>
TensorView<const T> Tensor::view() const {
  check_dtype(dtype_of<std::remove_const_t<T>>);
  check_readable();
  return {elements<const T>(), shape_, strides_};
}

template <Element T>
std::span<T> Tensor::span() {
  check_dtype(dtype_of<std::remove_const_t<T>>);
  check_readable();
  check_contiguous();
  return {elements<T>(), static_cast<std::size_t>(count())};
}

template <Element T>
std::span<const T> Tensor::span() const {
  check_dtype(dtype_of<std::remove_const_t<T>>);
  check_readable();
  check_contiguous();
  return {elements<const T>(), static_cast<std::size_t>(count())};
}

template <Element T, std::integral... I>
T Tensor::get(I... index) const {
  check_dtype(dtype_of<T>);
  check_readable();
  const std::array<Dim, sizeof...(I)> dims{static_cast<Dim>(index)...};
  return elements<const T>()[detail::offset_of(shape_, strides_, dims)];
}

template <Element T, std::integral... I>
void Tensor::set(std::type_identity_t<T> value, I... index) {
  check_dtype(dtype_of<T>);
  check_readable();
  const std::array<Dim, sizeof...(I)> dims{static_cast<Dim>(index)...};
  elements<T>()[detail::offset_of(shape_, strides_, dims)] = value;
}

inline Tensor Tensor::view_of(const Shape& shape, const Strides& strides, Dim offset) const {
  Tensor tensor;
  std::byte* first = data_.get();
  // The place of an empty view may lie behind the end of the storage.
  if (first != nullptr && shape.count() > 0) first += offset * static_cast<Dim>(size_of(dtype_));
  tensor.data_ = std::shared_ptr<std::byte>(data_, first);
  tensor.shape_ = shape;
  tensor.strides_ = strides;
  tensor.dtype_ = dtype_;
  tensor.device_ = device_;
  return tensor;
}

template <std::integral A, std::integral I>
Tensor Tensor::slice(A axis, I index) const {
  return slice_at(static_cast<Dim>(axis), static_cast<Dim>(index));
}

inline Tensor Tensor::slice_at(Dim axis, Dim index) const {
  if (axis < 0 || axis >= static_cast<Dim>(rank()))
    throw ShapeError("shape " + to_string(shape_) + " has no axis " + std::to_string(axis));
  const auto dropped = static_cast<std::size_t>(axis);
  if (index < 0 || index >= shape_[dropped])
    throw ShapeError(
        "slice " + std::to_string(index) + " of axis " + std::to_string(axis) + " is outside of shape " +
        to_string(shape_));
  Shape shape;
  Strides strides{};
  for (std::size_t i = 0; i < rank(); ++i) {
    if (i == dropped) continue;
    strides[shape.size()] = strides_[i];
    shape.push_back(shape_[i]);
  }
  return view_of(shape, strides, index * strides_[dropped]);
}

inline Tensor Tensor::subarray(const Shape& lower, const Shape& upper) const {
  bool inside = lower.size() == rank() && upper.size() == rank();
  for (std::size_t i = 0; inside && i < rank(); ++i)
    inside = 0 <= lower[i] && lower[i] <= upper[i] && upper[i] <= shape_[i];
  if (!inside)
    throw ShapeError(
        "there is no box from " + to_string(lower) + " to " + to_string(upper) + " in shape " + to_string(shape_));
  Shape shape = upper;
  Dim offset = 0;
  for (std::size_t i = 0; i < rank(); ++i) {
    shape[i] -= lower[i];
    offset += lower[i] * strides_[i];
  }
  return view_of(shape, strides_, offset);
}

inline Tensor Tensor::subarray(std::span<const Dim> lower, std::span<const Dim> upper) const {
  return subarray(Shape(lower), Shape(upper));
}

inline Tensor Tensor::flatten() const {
  return is_contiguous() ? reshape({count()}) : copy().reshape({count()});
}

inline Tensor Tensor::reshape(const Shape& shape) const {
  const auto fail = [&](const std::string& why) {
    throw ShapeError("cannot reshape " + to_string(shape_) + " to " + to_string(shape) + ": " + why);
  };
  Shape result = shape;
  std::size_t inferred = shape.size();
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < -1) fail("a dimension is negative");
    if (shape[i] != -1) continue;
    if (inferred != shape.size()) fail("only one dimension may be -1");
    inferred = i;
    result[i] = 1;
  }
  detail::checked_bytes(result, dtype_, device_);
  if (inferred != shape.size()) {
    const Dim others = result.count();
    if (others == 0) fail("-1 may be anything beside a dimension of 0");
    if (count() % others != 0) fail(std::to_string(count()) + " elements are no multiple of " + std::to_string(others));
    result[inferred] = count() / others;
  }
  if (result.count() != count()) fail(std::to_string(count()) + " elements against " + std::to_string(result.count()));
  if (!is_contiguous())
    fail("the tensor is not contiguous (strides " + to_string(Shape(strides())) + "); copy() it first");
  return view_of(result, detail::dense_strides(result), 0);
}

inline Tensor Tensor::copy() const {
  check_readable();
  Tensor result(Uninitialised{}, shape_, dtype_, device_);
  result.copy_from(*this);
  return result;
}

inline Tensor Tensor::cast(DType dtype) const {
  if (dtype == dtype_) return copy();
  check_readable();
  Tensor result(Uninitialised{}, shape_, dtype, device_);
  dispatch(dtype_, [&](auto from_tag) {
    using From = typename decltype(from_tag)::type;
    dispatch(dtype, [&](auto to_tag) {
      using To = typename decltype(to_tag)::type;
      detail::map(
          shape_,
          [](To& out, From in) { out = saturate_cast<To>(in); },
          detail::Operand<To>{result.elements<To>(), result.strides_.data()},
          detail::Operand<const From>{elements<const From>(), strides_.data()});
    });
  });
  return result;
}

inline Tensor& Tensor::fill(double value) {
  check_readable();
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T element = saturate_cast<T>(value);
    detail::map(
        shape_,
        [element](T& out) { out = element; },
        detail::Operand<T>{elements<T>(), strides_.data()});
  });
  return *this;
}

inline void Tensor::check_pair(const Tensor& other, const char* verb, const char* preposition) const {
  check_readable();
  other.check_readable();
  if (dtype_ != other.dtype_)
    throw DTypeError(
        std::string("cannot ") + verb + " " + detail::a_tensor_of(other.dtype_) + " " + preposition + " one of " +
        to_string(dtype_) + "; cast() it first");
  if (shape_ != other.shape_)
    throw ShapeError(
        std::string("cannot ") + verb + " a tensor of shape " + to_string(other.shape_) + " " + preposition +
        " one of " + to_string(shape_));
}

inline bool Tensor::is_same_view(const Tensor& other) const {
  if (data_ != other.data_) return false;
  for (std::size_t i = 0; i < rank(); ++i)
    if (shape_[i] > 1 && strides_[i] != other.strides_[i]) return false;
  return true;
}

inline bool Tensor::overlaps(const Tensor& other) const {
  if (count() == 0 || other.count() == 0) return false;
  const auto end = [](const Tensor& t) {
    Dim last = 0;
    for (std::size_t i = 0; i < t.rank(); ++i) last += (t.shape_[i] - 1) * t.strides_[i];
    return reinterpret_cast<std::uintptr_t>(t.raw()) + static_cast<std::size_t>(last + 1) * size_of(t.dtype_);
  };
  return reinterpret_cast<std::uintptr_t>(raw()) < end(other) &&
         reinterpret_cast<std::uintptr_t>(other.raw()) < end(*this);
}

template <class F>
Tensor& Tensor::combine(const Tensor& other, F f) {
  const bool same = is_same_view(other);
  if (!same && overlaps(other)) return combine(other.copy(), f);
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const detail::Operand<T> out{elements<T>(), strides_.data()};
    if (same) {
      detail::map(
          shape_,
          [f](T& x) { x = f(x, x); },
          out);
    } else {
      detail::map(
          shape_,
          [f](T& x, T y) { x = f(x, y); },
          out,
          detail::Operand<const T>{other.elements<const T>(), other.strides_.data()});
    }
  });
  return *this;
}

template <class F>
Tensor Tensor::combined(const Tensor& other, F f) const {
  Tensor result(Uninitialised{}, shape_, dtype_, device_);
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    detail::map(
        shape_,
        [f](T& out, T x, T y) { out = f(x, y); },
        detail::Operand<T>{result.elements<T>(), result.strides_.data()},
        detail::Operand<const T>{elements<const T>(), strides_.data()},
        detail::Operand<const T>{other.elements<const T>(), other.strides_.data()});
  });
  return result;
}

inline Tensor& Tensor::copy_from(const Tensor& source) {
  check_pair(source, "copy", "to");
  if (is_same_view(source)) return *this;
  if (overlaps(source)) return copy_from(source.copy());
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    detail::map(
        shape_,
        [](T& out, T in) { out = in; },
        detail::Operand<T>{elements<T>(), strides_.data()},
        detail::Operand<const T>{source.elements<const T>(), source.strides_.data()});
  });
  return *this;
}

inline Tensor& Tensor::add(const Tensor& other) {
  check_pair(other, "add", "to");
  return combine(other, detail::saturating_sum);
}

inline Tensor& Tensor::subtract(const Tensor& other) {
  check_pair(other, "subtract", "from");
  return combine(other, detail::saturating_difference);
}

inline Tensor& Tensor::multiply(double factor) {
  check_readable();
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const detail::Operand<T> out{elements<T>(), strides_.data()};
    if constexpr (std::is_floating_point_v<T>) {
      const T by = static_cast<T>(factor);
      detail::map(
          shape_,
          [by](T& x) { x *= by; },
          out);
    } else {
      detail::map(
          shape_,
          [factor](T& x) { x = saturate_cast<T>(static_cast<double>(x) * factor); },
          out);
    }
  });
  return *this;
}

inline Tensor& Tensor::divide(double divisor) {
  check_readable();
  dispatch(dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const detail::Operand<T> out{elements<T>(), strides_.data()};
    if constexpr (std::is_floating_point_v<T>) {
      const T by = static_cast<T>(divisor);
      detail::map(
          shape_,
          [by](T& x) { x /= by; },
          out);
    } else {
      if (divisor == 0)
        throw Error("cannot divide " + detail::a_tensor_of(dtype_) + " of shape " + to_string(shape_) + " by 0");
      detail::map(
          shape_,
          [divisor](T& x) { x = saturate_cast<T>(std::trunc(static_cast<double>(x) / divisor)); },
          out);
    }
  });
  return *this;
}

inline Tensor plus(const Tensor& a, const Tensor& b) {
  a.check_pair(b, "add", "to");
  return a.combined(b, detail::saturating_sum);
}

inline Tensor operator+(const Tensor& a, const Tensor& b) {
  return plus(a, b);
}

inline Tensor operator-(const Tensor& a, const Tensor& b) {
  a.check_pair(b, "subtract", "from");
  return a.combined(b, detail::saturating_difference);
}

inline Tensor operator*(const Tensor& a, double factor) {
  return std::move(a.copy().multiply(factor));
}

inline Tensor operator/(const Tensor& a, double divisor) {
  return std::move(a.copy().divide(divisor));
}

inline bool equal(const Tensor& a, const Tensor& b, double tolerance) {
  a.check_readable();
  b.check_readable();
  if (a.dtype_ != b.dtype_ || a.shape_ != b.shape_) return false;
  return dispatch(a.dtype_, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const detail::Operand<const T> x{a.elements<const T>(), a.strides_.data()};
    const detail::Operand<const T> y{b.elements<const T>(), b.strides_.data()};
    if (!(tolerance > 0)) return detail::all_same(a.shape_, x, y, [](T p, T q) { return p == q; });
    return detail::all_same(a.shape_, x, y, [tolerance](T p, T q) {
      return p == q || std::abs(static_cast<double>(p) - static_cast<double>(q)) <= tolerance;
    });
  });
}

inline bool operator==(const Tensor& a, const Tensor& b) {
  return equal(a, b);
}

}  // namespace sparknet
