#pragma once

// How own kernels are written: as function objects for one element, or for one row and the threads of a block. nvcc
// makes kernels of them; another compiler makes functions that do the same on the host, one element after the other, so
// that their arithmetic is tested where there is no GPU.
//
//     for_each(context, "relu", count, [=] __device__(Index i) { y[i] = x[i] > T(0) ? x[i] : slope * x[i]; });

#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "kernels/cuda/bf16.h"
#include "kernels/cuda/context.h"

#ifndef __CUDACC__
#include <cmath>
#endif

namespace sparknet::kernels::cuda {

constexpr int kThreads = 256;
/// Threads that a multiprocessor has room for.
constexpr int kResident = 2048;

#ifdef __CUDACC__
template <class P>
__global__ void __launch_bounds__(kThreads) kernel(P parameter) {
  parameter.run();
}
template <class P>
const void* kernel_of() {
  return reinterpret_cast<const void*>(&kernel<P>);
}
#else
/// What stands for a kernel on the host; cudaLaunchKernel is given its address.
struct HostKernel {
  std::size_t parameter_bytes;
  void (*run)(const void* parameter);
};
template <class P>
const void* kernel_of() {
  static const HostKernel kernel{sizeof(P), [](const void* parameter) { static_cast<const P*>(parameter)->run(); }};
  return &kernel;
}
#endif

/// The elements of a thread: number `first`, and then every `step`-th.
struct Stride {
  Index first, step;
};
__device__ inline Stride stride() {
#ifdef __CUDACC__
  return {static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x, static_cast<Index>(gridDim.x) * kThreads};
#else
  return {0, 1};
#endif
}

/// Starts a kernel for `count` elements, in as many blocks as there is room for `times` over.
template <class P>
void launch_strided(Context& context, const char* what, Index count, P& parameter, bool changes, Index times = 1) {
  const Index blocks = (count + kThreads - 1) / kThreads;
  const Index most = times * (kResident / kThreads) * context.multiprocessors();
  context.launch(kernel_of<P>(), blocks < most ? blocks : most, kThreads, &parameter, what, changes);
}

template <class F>
struct Each {
  Index count;
  F f;

  __device__ void run() const {
    const Stride own = stride();
    for (Index i = own.first; i < count; i += own.step) f(i);
  }
};

/// Calls f(i) for 0 <= i < count, in any order. With `changes`, what f has captured differs from step to step.
template <class F>
void for_each(Context& context, const char* what, Index count, const F& f, bool changes = false) {
  static_assert(std::is_trivially_copyable_v<F>);
  if (count <= 0) return;
  Each<F> each{count, f};
  launch_strided(context, what, count, each, changes, 4);
}

template <class T, class F>
struct WriteEach {
  Index count;
  T* y;
  F f;

  __device__ void run() const {
    const Index step = stride().step;
    Index i = stride().first;
    // A write may be to what is read next, for all that a compiler knows: so several are held back together.
    constexpr int kTogether = sizeof(T) == 2 ? 8 : 4;
    for (; i + (kTogether - 1) * step < count; i += kTogether * step) {
      T made[kTogether];
      for (int k = 0; k < kTogether; ++k) made[k] = static_cast<T>(f(i + k * step));
      for (int k = 0; k < kTogether; ++k) y[i + k * step] = made[k];
    }
    for (; i < count; i += step) y[i] = static_cast<T>(f(i));
  }
};

/// y[i] = f(i) for 0 <= i < count, in any order, where what f(i) reads nobody writes but for y[i]. Each thread has
/// several reads under way.
template <class T, class F>
void write_each(Context& context, const char* what, Index count, T* y, const F& f) {
  static_assert(std::is_trivially_copyable_v<F>);
  if (count <= 0) return;
  WriteEach<T, F> each{count, y, f};
  launch_strided(context, what, count, each, false);
}

/// Joins use(i, fetch(i)) to `total` for i = first, first + step, ... < count, in this order. What fetch reads nobody
/// writes but a use of the same i, so that several are under way together.
template <class R, class Fetch, class Use, class Join>
__device__ R
join_all(Index first, Index step, Index count, R total, const Fetch& fetch, const Use& use, const Join& join) {
  constexpr int kTogether = 4;
  using Fetched = std::decay_t<decltype(fetch(Index{}))>;
  Index i = first;
  for (; i + (kTogether - 1) * step < count; i += kTogether * step) {
    Fetched fetched[kTogether];
    for (int k = 0; k < kTogether; ++k) fetched[k] = fetch(i + k * step);
    for (int k = 0; k < kTogether; ++k) total = join(total, use(i + k * step, fetched[k]));
  }
  for (; i < count; i += step) total = join(total, use(i, fetch(i)));
  return total;
}

/// A use that is what was fetched.
struct AsFetched {
  template <class V>
  __device__ V operator()(Index, V value) const {
    return value;
  }
};

/// The threads of a block. All of them call the same functions.
class Row {
 public:
  /// Calls f(i) for 0 <= i < count, each in one of the threads. What one has written another may read after sync().
  template <class F>
  __device__ void each(Index count, const F& f) const {
#ifdef __CUDACC__
    for (Index i = threadIdx.x; i < count; i += blockDim.x) f(i);
#else
    for (Index i = 0; i < count; ++i) f(i);
#endif
  }

  /// Calls f() in one of the threads.
  template <class F>
  __device__ void once(const F& f) const {
#ifdef __CUDACC__
    if (threadIdx.x == 0) f();
#else
    f();
#endif
  }

  __device__ void sync() const {
#ifdef __CUDACC__
    __syncthreads();
#endif
  }

  /// join(... join(join(start, load(0)), load(1)) ...), each loaded once, in an order that is the same every time; all
  /// threads get the result. join(start, r) is r. R is of whole 32-bit words, 32 bytes at most, and trivially copied.
  /// What was written before the call may be read after it, as after sync().
  template <class R, class Load, class Join>
  __device__ R reduce(Index count, R start, const Load& load, const Join& join) const {
    return reduce(count, start, load, AsFetched{}, join);
  }
  /// The same of use(i, fetch(i)), as join_all() does it.
  template <class R, class Fetch, class Use, class Join>
  __device__ R reduce(Index count, R start, const Fetch& fetch, const Use& use, const Join& join) const {
    static_assert(sizeof(R) % 4 == 0 && sizeof(R) <= 32);
#ifdef __CUDACC__
    __shared__ alignas(16) unsigned char memory[32 * 32];
    R* const parts = reinterpret_cast<R*>(memory);
    R total = join_all(threadIdx.x, blockDim.x, count, start, fetch, use, join);
    for (unsigned distance = 16; distance > 0; distance /= 2) total = join(total, shuffle_down(total, distance));
    const unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
    __syncthreads();  // parts of the reduction before this one have been read
    if (threadIdx.x % 32 == 0) parts[warp] = total;
    __syncthreads();
    total = parts[0];
    for (unsigned w = 1; w < warps; ++w) total = join(total, parts[w]);
    return total;
#else
    return join_all(0, 1, count, start, fetch, use, join);
#endif
  }

  /// The sum of load(i), which gives an R.
  template <class R, class Load>
  __device__ R sum(Index count, const Load& load) const {
    return reduce(count, R(0), load, [](R a, R b) { return a + b; });
  }

 private:
#ifdef __CUDACC__
  template <class R>
  static __device__ R shuffle_down(R value, unsigned distance) {
    unsigned words[sizeof(R) / 4];
    std::memcpy(words, &value, sizeof(R));
    for (unsigned& word : words) word = __shfl_down_sync(0xffffffffu, word, distance);
    std::memcpy(&value, words, sizeof(R));
    return value;
  }
#endif
};

template <class F>
struct Rows {
  Index rows;
  F f;

  __device__ void run() const {
#ifdef __CUDACC__
    for (Index row = blockIdx.x; row < rows; row += gridDim.x) f(Row{}, row);
#else
    for (Index row = 0; row < rows; ++row) f(Row{}, row);
#endif
  }
};

/// Calls f(const Row&, row) for 0 <= row < rows, each by a block of threads, as many as suit rows of `columns`
/// elements.
template <class F>
void for_rows(Context& context, const char* what, Index rows, Index columns, const F& f) {
  static_assert(std::is_trivially_copyable_v<F>);
  if (rows <= 0) return;
  Rows<F> all{rows, f};
  const int threads = columns <= 64 ? 32 : columns <= 512 ? 128 : kThreads;
  const Index most = Index{64} * context.multiprocessors();
  context.launch(kernel_of<Rows<F>>(), rows < most ? rows : most, threads, &all, what);
}

/// Reduces load(i) for 0 <= i < count as Row::reduce does, by as many blocks as it is worth, and calls finish(result)
/// in one thread.
template <class R, class Load, class Join, class Finish>
void reduce_all(
    Context& context, const char* what, Index count, R start, const Load& load, const Join& join,
    const Finish& finish) {
  static_assert(std::is_trivially_copyable_v<R>);
  constexpr Index kWorth = 16 * 1024,
                  kMost = static_cast<Index>(
                      Context::kPartialBytes / sizeof(R) < 512 ? Context::kPartialBytes / sizeof(R) : 512);
  if (count <= kWorth) {
    for_rows(context, what, 1, count, [=] __device__(const Row& block, Index) {
      const R result = block.reduce(count, start, load, join);
      block.once([&] { finish(result); });
    });
    return;
  }
  const Index wanted = (count + kWorth - 1) / kWorth, parts = wanted < kMost ? wanted : kMost;
  const Index part = (count + parts - 1) / parts;
  R* const partial = static_cast<R*>(context.partial());
  for_rows(context, what, parts, part, [=] __device__(const Row& block, Index p) {
    const Index begin = p * part, end = begin + part < count ? begin + part : count;
    const R result = block.reduce(
        begin < end ? end - begin : 0,
        start,
        [&](Index i) { return load(begin + i); },
        join);
    block.once([&] { partial[p] = result; });
  });
  for_rows(context, what, 1, parts, [=] __device__(const Row& block, Index) {
    const R result = block.reduce(
        parts,
        start,
        [&](Index p) { return partial[p]; },
        join);
    block.once([&] { finish(result); });
  });
}

// Arrays of a type.
template <class T>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
T* out(void* p) {
  return static_cast<T*>(p);
}

/// Calls f(zero of the type) for the types of blobs.
template <class F>
void with_blob_type(DType dtype, F&& f) {
  if (dtype == DType::BF16)
    f(Bf16{});
  else if (dtype == DType::F64)
    f(double{});
  else
    f(float{});
}

/// Calls f(zero of the type) for F32 and F64, the types that nets compute in; for what is not done in BF16.
template <class F>
void with_type(DType dtype, F&& f) {
  if (dtype == DType::BF16) throw std::logic_error("an operation of a GPU that is not done in bf16");
  if (dtype == DType::F64)
    f(double{});
  else
    f(float{});
}

}  // namespace sparknet::kernels::cuda
