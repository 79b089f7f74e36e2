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
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "tests/place.h"

namespace sparknet::kernels {

/// An array that ends where its memory ends, so that address checkers see a slip.
template <class T>
class Array {
 public:
  explicit Array(std::size_t size, T value = T()) : size_(size), memory_(test::shared_memory(size * sizeof(T))) {
    std::fill_n(data(), size, value);
  }
  Array(const Array& other) : Array(other.size_) { *this = other; }
  Array(Array&&) = default;
  Array& operator=(const Array& other) {
    if (size_ != other.size_) *this = Array(other.size_);
    std::copy_n(other.data(), size_, data());
    return *this;
  }
  Array& operator=(Array&&) = default;
  T* data() { return static_cast<T*>(memory_.get()); }
  const T* data() const { return static_cast<const T*>(memory_.get()); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }

 private:
  std::size_t size_;
  std::shared_ptr<void> memory_;
};

/// Scratch filled with NaN, aligned to 64 bytes.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : memory_(test::shared_memory((bytes + 127) / 64 * 64)) {
    std::memset(memory_.get(), 0xff, bytes);
  }
  void* get() { return memory_.get(); }

 private:
  std::shared_ptr<void> memory_;
};

template <class T>
Array<T> random_array(std::size_t size, unsigned seed, double low = -1, double high = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> numbers(low, high);
  Array<T> array(size);
  for (std::size_t i = 0; i < size; ++i) array[i] = static_cast<T>(numbers(engine));
  return array;
}

/// The numbers of a shape, for messages.
inline std::string describe(const ConvolutionShape& s) {
  std::string text;
  for (const Index number :
       {s.batch,
        s.channels,
        s.height,
        s.width,
        s.num_output,
        s.kernel_h,
        s.kernel_w,
        s.stride_h,
        s.stride_w,
        s.pad_h,
        s.pad_w,
        s.dilation_h,
        s.dilation_w,
        s.group}) {
    text += std::to_string(number) + ' ';
  }
  return text;
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

/// How near sums of doubles come to those in the order of a loop.
inline double sum_tolerance(const Backend& backend) {
  return backend.on_host() ? 1e-12 : 1e-6;
}

/// The same bits where the arithmetic is the host's, which is that of one function.
template <class T>
bool same_or_near(const Backend& backend, const Array<T>& got, const Array<T>& expected) {
  return backend.on_host() ? same_bits(got, expected) : difference(got, doubles(expected)) < tolerance<T>(4);
}

/// Calls f(backend, zero of the type) for every instruction set, both types and 1, 2 and 3 threads; or for both types
/// on the device that the tests run on.
template <class F>
void on_every_backend(F&& f) {
  if (test::on_gpu()) {
    const auto backend = test::make_gpu_backend();
    INFO(backend->description());
    f(*backend, float{});
    f(*backend, double{});
    return;
  }
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
