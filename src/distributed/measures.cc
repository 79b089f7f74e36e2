#include "src/distributed/measures.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace sparknet::detail {

bool is_finite(const Tensor& values) {
  return dispatch(values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    if constexpr (std::is_floating_point_v<T>) {
      constexpr Bits exponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
      Bits found = 0;  // integers, because such a loop becomes vector code
      for (const T x : values.span<T>()) found |= static_cast<Bits>((std::bit_cast<Bits>(x) & exponent) == exponent);
      return found == 0;
    } else {
      return true;
    }
  });
}

double squared_distance(const Tensor& a, const Tensor& b) {
  return dispatch(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto x = a.span<T>(), y = b.span<T>();
    std::array<double, 8> sums{};  // independent, or each addition would wait for the one before
    for (std::size_t i = 0; i < x.size(); i += sums.size())
      for (std::size_t lane = 0; lane < std::min(sums.size(), x.size() - i); ++lane) {
        const double difference = static_cast<double>(x[i + lane]) - static_cast<double>(y[i + lane]);
        sums[lane] += difference * difference;
      }
    double sum = 0;
    for (const double lane : sums) sum += lane;
    return sum;
  });
}

}  // namespace sparknet::detail
