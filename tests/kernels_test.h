#pragma once

// What the tests of the kernels share: every instruction set, type and thread count, and arrays of random numbers.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace sparknet::kernels {

/// An array that ends where its memory ends, so that address checkers see a slip.
template <class T>
class Array {
 public:
  explicit Array(std::size_t size, T value = T(0)) : values_(size, value) {}
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  std::size_t size() const { return values_.size(); }
  T& operator[](std::size_t i) { return values_[i]; }
  const T& operator[](std::size_t i) const { return values_[i]; }

 private:
  std::vector<T> values_;
};

/// Scratch filled with NaN, aligned to 64 bytes.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : memory_(std::aligned_alloc(64, (bytes + 127) / 64 * 64), std::free) {
    std::memset(memory_.get(), 0xff, bytes);
  }
  void* get() { return memory_.get(); }

 private:
  std::unique_ptr<void, decltype(&std::free)> memory_;
};

template <class T>
Array<T> random_array(std::size_t size, unsigned seed, double low = -1, double high = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> numbers(low, high);
  Array<T> array(size);
  for (std::size_t i = 0; i < size; ++i) array[i] = static_cast<T>(numbers(engine));
  return array;
}

template <class T>
std::vector<double> doubles(const Array<T>& array) {
  return {array.data(), array.data() + array.size()};
}

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::Portable, Isa::V3, Isa::V4}) {
    if (isa <= best_isa()) all.push_back(isa);
  }
  return all;
}

/// The largest error allowed for sums of `terms` products around 1.
template <class T>
double tolerance(double terms) {
  return (sizeof(T) == 4 ? 2e-6 : 4e-15) * std::sqrt(terms + 4);
}

/// The largest difference, as a share of the largest expected number (or 1); infinite where NaN meets a number.
template <class T>
double difference(const Array<T>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double largest = 1, worst = 0;
  for (const double value : expected) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double value = static_cast<double>(got[i]);
    if (std::isnan(value) != std::isnan(expected[i])) return INFINITY;
    if (!std::isnan(value) && value != expected[i]) worst = std::max(worst, std::abs(value - expected[i]));
  }
  return worst / largest;
}

template <class T>
bool same_bits(const Array<T>& a, const Array<T>& b) {
  if (a.size() != b.size()) return false;
  return a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Calls f(backend, zero of the type) for every instruction set, both types and 1, 2 and 3 threads.
template <class F>
void on_every_backend(F&& f) {
  for (const Isa isa : isas()) {
    for (const int threads : {1, 2, 3}) {
      const auto backend = make_cpu_backend(threads, isa);
      INFO(backend->description());
      f(*backend, float{});
      f(*backend, double{});
    }
  }
}

}  // namespace sparknet::kernels
