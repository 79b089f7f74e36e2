#pragma once

#include <cstddef>
#include <cstdint>

namespace sparknet {

/// The type of a tensor's elements, as data. BF16, the upper half of an F32, is what a net may hold its blobs in on a
/// GPU; no tensor on the host has it.
enum class DType : std::uint8_t { F32, F64, U8, I32, BF16 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::F32: return 4;
    case DType::F64: return 8;
    case DType::U8: return 1;
    case DType::I32: return 4;
    case DType::BF16: return 2;
  }
  return 0;
}

/// "f32", "f64", "u8", "i32" or "bf16".
constexpr const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::F32: return "f32";
    case DType::F64: return "f64";
    case DType::U8: return "u8";
    case DType::I32: return "i32";
    case DType::BF16: return "bf16";
  }
  return "unknown";
}

/// The DType of a C++ element type; not defined for other types.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::F32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::F64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::U8;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::I32;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace sparknet
