#include "src/distributed/ordered_sum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "sparknet/element.h"

namespace sparknet::detail {
namespace {

template <class T>
const T* elements(const std::byte* bytes) {
  return reinterpret_cast<const T*>(bytes);
}

template <class T>
void fold(std::size_t begin, std::size_t count, std::span<const Addend> addends, double divisor, T* sum) {
  bool first = true;
  for (const Addend& addend : addends) {
    if (addend.scale == 0) continue;
    const T* values = elements<T>(addend.values) + begin;
    const T scale = static_cast<T>(addend.scale);
    if (first && scale == 1)
      std::memcpy(sum, values, count * sizeof(T));
    else if (first)
      for (std::size_t i = 0; i < count; ++i) sum[i] = scale * values[i];
    else if (scale == 1)
      for (std::size_t i = 0; i < count; ++i) sum[i] += values[i];
    else
      for (std::size_t i = 0; i < count; ++i) {
        const T product = scale * values[i];
        sum[i] += product;
      }
    first = false;
  }
  if (first) std::fill_n(sum, count, T(0));
  if (const T by = static_cast<T>(divisor); by != 1)
    for (std::size_t i = 0; i < count; ++i) sum[i] /= by;
}

template <class T>
void mean_of(std::size_t count, std::span<const Addend> addends, double divisor, std::span<std::byte* const> results) {
  // Through the first-level cache, so that memory is read and written once.
  alignas(64) std::array<T, 2048> sum;
  for (std::size_t begin = 0; begin < count; begin += sum.size()) {
    const std::size_t piece = std::min(sum.size(), count - begin);
    fold<T>(begin, piece, addends, divisor, sum.data());
    for (std::byte* result : results) std::memcpy(result + begin * sizeof(T), sum.data(), piece * sizeof(T));
  }
}

}  // namespace

void ordered_mean(
    DType dtype, std::size_t count, std::span<const Addend> addends, double divisor,
    std::span<std::byte* const> results) {
  if (dtype == DType::F64)
    mean_of<double>(count, addends, divisor, results);
  else
    mean_of<float>(count, addends, divisor, results);
}

}  // namespace sparknet::detail
