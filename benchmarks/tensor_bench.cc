#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "sparknet/tensor.h"

// Operations on whole tensors beside memcpy of the same number of bytes: all are bound by memory once a tensor leaves
// the caches. Rates count bytes read and bytes written.

namespace sparknet {
namespace {

constexpr Dim columns = 256;

void sizes(benchmark::internal::Benchmark* bench) {
  // 32 KiB, 1 MiB and 64 MiB of f32.
  bench->Arg(32)->Arg(1024)->Arg(65536)->Unit(benchmark::kMicrosecond);
}

void count_bytes(benchmark::State& state, Dim bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
}

Dim size_in_bytes(const Tensor& tensor) {
  return static_cast<Dim>(tensor.bytes());
}

void memcpy_f32(benchmark::State& state) {
  std::vector<float> from(static_cast<std::size_t>(state.range(0) * columns), 1), to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size() * sizeof(float));
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2 * static_cast<Dim>(from.size() * sizeof(float)));
}

void copy_from(benchmark::State& state) {
  Tensor from({state.range(0), columns}), to = from.copy();
  for (auto _ : state) {
    to.copy_from(from);
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2 * size_in_bytes(from));
}

void copy_from_inner_box(benchmark::State& state) {
  Tensor from({state.range(0), columns + 32}), to({state.range(0), columns});
  const Tensor box = from.subarray({0, 16}, {state.range(0), columns + 16});
  for (auto _ : state) {
    to.copy_from(box);
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2 * size_in_bytes(to));
}

void copy_from_column(benchmark::State& state) {
  Tensor from({state.range(0) * columns, 4}), to({state.range(0) * columns});
  const Tensor column = from.slice(1, 1);
  for (auto _ : state) {
    to.copy_from(column);
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2 * size_in_bytes(to));
}

void copy_allocating(benchmark::State& state) {
  const Tensor from({state.range(0), columns});
  for (auto _ : state) {
    Tensor to = from.copy();
    benchmark::DoNotOptimize(to.raw());
  }
  count_bytes(state, 2 * size_in_bytes(from));
}

void fill(benchmark::State& state) {
  Tensor tensor({state.range(0), columns});
  for (auto _ : state) {
    tensor.fill(1.5);
    benchmark::ClobberMemory();
  }
  count_bytes(state, size_in_bytes(tensor));
}

template <class T>
void add(benchmark::State& state) {
  Tensor a({state.range(0), columns}, dtype_of<T>), b = a.copy();
  for (auto _ : state) {
    a.add(b);
    benchmark::ClobberMemory();
  }
  count_bytes(state, 3 * size_in_bytes(a));
}

void divide(benchmark::State& state) {
  Tensor a({state.range(0), columns});
  for (auto _ : state) {
    a.divide(1.000001);
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2 * size_in_bytes(a));
}

template <class From, class To>
void cast(benchmark::State& state) {
  const Tensor from({state.range(0), columns}, dtype_of<From>);
  for (auto _ : state) {
    Tensor to = from.cast(dtype_of<To>);
    benchmark::DoNotOptimize(to.raw());
  }
  count_bytes(state, from.count() * static_cast<Dim>(sizeof(From) + sizeof(To)));
}

void equal_f32(benchmark::State& state) {
  const Tensor a({state.range(0), columns}), b = a.copy();
  for (auto _ : state) benchmark::DoNotOptimize(a == b);
  count_bytes(state, 2 * size_in_bytes(a));
}

BENCHMARK(memcpy_f32)->Apply(sizes);
BENCHMARK(copy_from)->Apply(sizes);
BENCHMARK(copy_from_inner_box)->Apply(sizes);
BENCHMARK(copy_from_column)->Apply(sizes);
BENCHMARK(copy_allocating)->Apply(sizes);
BENCHMARK(fill)->Apply(sizes);
BENCHMARK(add<float>)->Apply(sizes);
BENCHMARK(add<double>)->Apply(sizes);
BENCHMARK(add<std::uint8_t>)->Apply(sizes);
BENCHMARK(add<std::int32_t>)->Apply(sizes);
BENCHMARK(divide)->Apply(sizes);
BENCHMARK(cast<std::uint8_t, float>)->Apply(sizes);
BENCHMARK(cast<float, std::uint8_t>)->Apply(sizes);
BENCHMARK(cast<float, std::int32_t>)->Apply(sizes);
BENCHMARK(cast<float, double>)->Apply(sizes);
BENCHMARK(equal_f32)->Apply(sizes);

}  // namespace
}  // namespace sparknet

BENCHMARK_MAIN();
