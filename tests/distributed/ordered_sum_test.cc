#include "src/distributed/ordered_sum.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

using namespace sparknet;

namespace {

/// By the words of the header, an element at a time.
template <class T>
T mean_of(std::size_t i, const std::vector<std::vector<T>>& values, const std::vector<double>& scales, double divisor) {
  T sum = 0;
  bool first = true;
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (scales[k] == 0) continue;
    volatile T product = static_cast<T>(scales[k]) * values[k][i];  // rounded
    sum = first ? T(product) : sum + product;
    first = false;
  }
  return sum / static_cast<T>(divisor);
}

template <class T>
void compare(DType dtype, std::size_t members, const std::vector<double>& scales, double divisor) {
  constexpr std::size_t count = 5003;
  std::vector<std::vector<T>> values(members, std::vector<T>(count));
  for (std::size_t k = 0; k < members; ++k)
    for (std::size_t i = 0; i < count; ++i)
      values[k][i] = static_cast<T>(std::sin(1.0 + static_cast<double>(i * 7 + k * 131)));
  values[0][0] = -T(0);
  values[0][1] = std::numeric_limits<T>::denorm_min() * 3;
  std::vector<T> wanted;
  for (std::size_t i = 0; i < count; ++i) wanted.push_back(mean_of(i, values, scales, divisor));

  std::vector<detail::Addend> addends;
  std::vector<std::byte*> results;
  for (std::size_t k = 0; k < members; ++k) {
    auto* const bytes = reinterpret_cast<std::byte*>(values[k].data());
    addends.push_back({bytes, scales[k]});
    if (k % 2 == 1 || members == 1) results.push_back(bytes);
  }
  detail::ordered_mean(dtype, count, addends, divisor, results);
  for (const std::byte* result : results) CHECK(std::memcmp(result, wanted.data(), count * sizeof(T)) == 0);
}

}  // namespace

TEST_CASE("a mean is the ordered sum and one quotient, to the bit") {
  const std::vector<std::vector<double>> scales =
      {{1}, {1, 1}, {0.3, 1}, {1, 0}, {0, 0, 0}, {1, 1, 1}, {0, 0.7, 1}, {1, 1, 1, 1}, {0.1, 0.2, 0, 0.3, 0.4, 1, 1}};
  for (const std::vector<double>& of : scales)
    for (const double divisor : {1.0, 2.0, 3.0, 4.0, 0.125, 1.7, 0x1p127, 0x1p-127, 0x1p-140}) {
      CAPTURE(of.size());
      CAPTURE(divisor);
      compare<float>(DType::F32, of.size(), of, divisor);
      compare<double>(DType::F64, of.size(), of, divisor);
    }
}
