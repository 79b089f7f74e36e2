#include "src/distributed/ordered_sum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <vector>

#include "sparknet/element.h"

namespace sparknet::detail {
namespace {

template <class T>
const T* elements(const std::byte* bytes) {
  return reinterpret_cast<const T*>(bytes);
}

/// sum = ((sum + s a) + t b) * factor, without the parts that are not there. A factor of 1 changes no bit.
template <bool First, bool Two, class T>
void step(std::size_t count, const T* a, T s, const T* b, T t, T factor, T* sum) {
  for (std::size_t i = 0; i < count; ++i) {
    T x = s * a[i];
    if constexpr (!First) x = sum[i] + x;
    if constexpr (Two) {
      const T y = t * b[i];
      x += y;
    }
    sum[i] = x * factor;
  }
}

/// Two addends a pass, the last of which multiplies with `factor`.
template <class T>
void fold(std::size_t begin, std::size_t count, std::span<const Addend> addends, T factor, T* sum) {
  if (addends.empty()) std::fill_n(sum, count, T(0));
  for (std::size_t k = 0; k < addends.size(); k += 2) {
    const bool two = k + 1 < addends.size();
    const Addend &first = addends[k], &second = addends[k + two];
    const auto pass = k == 0 ? (two ? step<true, true, T> : step<true, false, T>)
                             : (two ? step<false, true, T> : step<false, false, T>);
    pass(
        count,
        elements<T>(first.values) + begin,
        static_cast<T>(first.scale),
        elements<T>(second.values) + begin,
        static_cast<T>(second.scale),
        k + 2 < addends.size() ? T(1) : factor,
        sum);
  }
}

template <class T>
void mean_of(std::size_t count, std::span<const Addend> addends, double divisor, std::span<std::byte* const> results) {
  std::vector<Addend> added;
  std::copy_if(addends.begin(), addends.end(), std::back_inserter(added), [](const Addend& addend) {
    return addend.scale != 0;
  });
  // The inverse of a power of two is exact, and a product takes a quarter of a quotient's time.
  const T by = static_cast<T>(divisor), inverse = 1 / by;
  int exponent = 0;
  const bool is_exact = std::frexp(by, &exponent) == T(0.5) && std::isnormal(inverse);
  // Through the first-level cache, so that memory is read and written once.
  alignas(64) std::array<T, 2048> sum;
  for (std::size_t begin = 0; begin < count; begin += sum.size()) {
    const std::size_t piece = std::min(sum.size(), count - begin);
    fold<T>(begin, piece, added, is_exact ? inverse : T(1), sum.data());
    if (!is_exact)
      for (std::size_t i = 0; i < piece; ++i) sum[i] /= by;
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
