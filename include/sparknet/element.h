#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "sparknet/dtype.h"
#include "sparknet/error.h"

namespace sparknet {

/// A C++ type a tensor can hold: float, double, uint8_t or int32_t; const or not.
template <class T>
concept Element = requires {
  DTypeOf<std::remove_const_t<T>>::value;
};

/// Carries a type into a generic lambda: `using T = typename decltype(tag)::type;`
template <class T>
struct TypeTag {
  using type = T;
};

/// Calls `f(TypeTag<T>{})` with the C++ type of `dtype` and returns what it returns.
/// Call it once outside of a loop over elements.
/// Throws DTypeError for a value that is none of the enumerators.
template <class F>
constexpr decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::F32: return f(TypeTag<float>{});
    case DType::F64: return f(TypeTag<double>{});
    case DType::U8: return f(TypeTag<std::uint8_t>{});
    case DType::I32: return f(TypeTag<std::int32_t>{});
    case DType::BF16: throw DTypeError("what a net holds in bf16 is on its GPU; Net::blob gives it as f32");
  }
  throw DTypeError("a tensor holds f32, f64, u8 or i32, not dtype number " + std::to_string(static_cast<int>(dtype)));
}

/// Converts between element types, whatever the value: out of range becomes the nearest bound of an integer type
/// (infinity of a float type), NaN becomes 0 as an integer, fractions round to the nearest integer, halves away from 0.
template <Element To, Element From>
constexpr To saturate_cast(From value) {
  if constexpr (std::is_floating_point_v<To> || std::is_same_v<To, From>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_integral_v<From>) {
    if constexpr (sizeof(To) > sizeof(From)) {
      return static_cast<To>(value);
    } else {
      constexpr From low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
      return static_cast<To>(value < low ? low : value > high ? high : value);
    }
  } else {
    // A float holds every u8 and every half between two of them; i32 needs a double for that.
    using Wide = std::conditional_t<std::is_same_v<To, std::uint8_t>, From, double>;
    constexpr Wide low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    Wide x = value == value ? static_cast<Wide>(value) : Wide(0);
    x = x < low ? low : x > high ? high : x;
    const auto whole = static_cast<std::int32_t>(x);
    const Wide rest = x - static_cast<Wide>(whole);
    // Twice the fraction truncates to the -1, 0 or 1 that rounding adds.
    return static_cast<To>(whole + static_cast<std::int32_t>(rest + rest));
  }
}

}  // namespace sparknet
