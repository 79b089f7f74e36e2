#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace sparknet::kernels {

/// Half-open piece of a range.
struct Share {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

/// Piece number `part` of [0, n) cut into `parts` pieces whose sizes differ by one at most.
inline Share share(std::int64_t n, int parts, int part) {
  const std::int64_t each = n / parts, more = n % parts;
  const std::int64_t begin = part * each + (part < more ? part : more);
  return {begin, begin + each + (part < more ? 1 : 0)};
}

/// The cores this process may use, which is less than the machine has in a container or under taskset.
int usable_cores();

/// Looks for as long as a sleeping thread needs to wake up, as to wait longer awake costs more than it saves; whether
/// it became true.
template <class Ready>
bool spin_until(Ready ready) {
  constexpr std::chrono::microseconds kSpin{20};
  const auto look = [&](int times) {
    for (; times > 0; --times) {
      if (ready()) return true;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
    return false;
  };
  if (look(64)) return true;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    if (look(16)) return true;
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

/// A crew of threads that do one job at a time together with the thread that asks for it.
class ThreadTeam {
 public:
  /// Starts threads - 1 threads; the caller of run() is the missing one. Throws std::invalid_argument below 1.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls f(worker) once for each worker in [0, size()), worker 0 being the caller, and returns when all are done.
  /// Rethrows the first exception that a worker let out. Not to be called from a job, or from two threads at a time.
  template <class F>
  void run(F&& f) {
    if (threads_.empty()) {
      f(0);
    } else {
      using Job = std::remove_reference_t<F>;
      run_job(
          [](void* job, int worker) { (*static_cast<Job*>(job))(worker); },
          const_cast<void*>(static_cast<const void*>(&f)));
    }
  }

 private:
  using Call = void (*)(void*, int);
  void run_job(Call call, void* job);
  void work(int worker);
  void call_guarded(int worker);
  void stop();

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> busy_{0};
  Call call_ = nullptr;
  void* job_ = nullptr;
  bool stop_ = false;
  std::exception_ptr error_;
};

}  // namespace sparknet::kernels
