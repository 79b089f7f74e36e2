// LeNet at batch 64: a whole training step (forward, backward, SGD with momentum and weight decay), and forward alone.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <set>
#include <thread>

#include "examples/lenet/lenet.h"
#include "lenet_workload.h"
#include "sparknet/net.h"

namespace {

using namespace sparknet;

const bench::Digits& digits() {
  static const bench::Digits digits = bench::read_digits();
  return digits;
}

void count_flop(benchmark::State& state, double flop) {
  state.counters["GFLOP/s"] = benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.SetItemsProcessed(state.iterations() * bench::batch);
  state.SetLabel(digits().text);
}

void lenet_step(benchmark::State& state) {
  const auto solver = bench::make_solver(example::lenet(bench::batch), digits(), static_cast<int>(state.range(0)));
  for (auto _ : state) solver->step();
  count_flop(state, bench::step_flop);
}

void lenet_forward(benchmark::State& state) {
  Net net(
      example::lenet(bench::batch, bench::batch),
      {.phase = Phase::Test, .threads = static_cast<int>(state.range(0))});
  net.set_data(digits().source(), {.prefetch = 0});
  for (auto _ : state) benchmark::DoNotOptimize(net.forward());
  count_flop(state, bench::forward_flop);
}

void one_and_all_threads(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("threads")->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const unsigned threads : std::set{1U, std::max(1U, std::thread::hardware_concurrency())})
    benchmark->Arg(threads);
}

BENCHMARK(lenet_step)->Apply(one_and_all_threads);
BENCHMARK(lenet_forward)->Apply(one_and_all_threads);

}  // namespace

BENCHMARK_MAIN();
