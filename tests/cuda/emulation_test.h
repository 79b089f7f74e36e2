#pragma once

// What the tests of emulated GPUs share.

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <random>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/cuda/emulation.h"
#include "tests/cuda/streams.h"

namespace sparknet::emulation {

using kernels::cuda::kernel_of;

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kGuards = false;
#elif defined(__has_feature)
inline constexpr bool kGuards = !__has_feature(address_sanitizer);
#else
inline constexpr bool kGuards = true;
#endif

inline constexpr int kSuccess = cudaSuccess;  // as doctest prints numbers

template <class F>
struct Kernel {
  F f;
  void run() const { f(); }
};

template <class F>
cudaError_t launch(cudaStream_t stream, const F& f) {
  Kernel<F> kernel{f};
  void* arguments[] = {&kernel};
  return cudaLaunchKernel(kernel_of<Kernel<F>>(), dim3(1), dim3(32), arguments, 0, stream);
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    REQUIRE(cudaMalloc(&memory_, count * sizeof(T)) == kSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    REQUIRE(cudaMemcpy(memory_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice) == kSuccess);
  }
  ~DeviceArray() { cudaFree(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return static_cast<T*>(memory_); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    REQUIRE(cudaDeviceSynchronize() == kSuccess);
    REQUIRE(cudaMemcpy(values.data(), memory_, count_ * sizeof(T), cudaMemcpyDeviceToHost) == kSuccess);
    return values;
  }

 private:
  std::size_t count_;
  void* memory_ = nullptr;
};

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    REQUIRE(cudaStreamCreateWithFlags(&handle, flags) == kSuccess);
  }
  ~Stream() { cudaStreamDestroy(handle); }
  operator cudaStream_t() const { return handle; }
  cudaStream_t handle;
};

struct Event {
  Event() { REQUIRE(cudaEventCreate(&handle) == kSuccess); }
  ~Event() { cudaEventDestroy(handle); }
  operator cudaEvent_t() const { return handle; }
  cudaEvent_t handle;
};

/// Pieces of work that the streams have been given.
inline std::uint64_t pieces_of_work() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  std::uint64_t count = 0;
  for (const auto& stream : s.streams) count += stream->submitted;
  return count;
}

/// Pinned memory for one number.
struct Number {
  explicit Number(int start) {
    void* memory = nullptr;
    REQUIRE(cudaMallocHost(&memory, sizeof(int)) == kSuccess);
    value = static_cast<int*>(memory);
    *value = start;
  }
  ~Number() { cudaFreeHost(value); }
  int* value;
};

/// The signal that a process dies of that does so, or 0.
template <class F>
int death_of(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(signal, SIG_DFL);
    if (!std::freopen("/dev/null", "w", stderr)) _exit(1);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

template <class T>
std::vector<T> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> numbers(-1, 1);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(numbers(engine));
  return values;
}

template <class T>
void check_close(const std::vector<T>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() == expected.size());
  const double tolerance = sizeof(T) == 2 ? 1.0 / 256 : sizeof(T) == 4 ? 1e-5 : 1e-13;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    wrong += !(std::fabs(double{values[i]} - expected[i]) <= tolerance * (1 + std::fabs(expected[i])));
  CHECK(wrong == 0);
}

}  // namespace sparknet::emulation
