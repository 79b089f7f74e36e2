// What a round of averaging costs beyond training: `averaging_bench`. Everything is counted as a copy is: the bytes
// that must be read and those that must be written, so bytes_per_second of each line compares with copy's at as many
// threads.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "examples/models/models.h"
#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/distributed/contribution.h"
#include "sparknet/distributed/outer_optimizer.h"
#include "sparknet/distributed/workers.h"

namespace {

using namespace sparknet;

/// LeNet's parameters and CaffeNet's.
constexpr std::int64_t lenet = 431080, caffenet = 60965224;

void count_bytes(benchmark::State& state, double bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes * static_cast<double>(state.iterations())));
}

Tensor values_of(std::int64_t count) {
  Tensor values{Shape(count)};
  const auto x = values.span<float>();
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1000) * 1e-3F;
  return values;
}

/// Times `work(group)` on threads that begin together; the longest counts. Before it each has written its `mine(rank)`,
/// as training does, so that it lies in the caches of the processor that wrote it.
template <class Mine, class Work>
void time_group(benchmark::State& state, int workers, const Mine& mine, const Work& work) {
  constexpr int rounds = 16;  // of threads that stay where they are
  while (state.KeepRunningBatch(rounds)) {
    double seconds = 0;
    run_on_threads(workers, [&](Communicator& group) {
      Tensor& values = mine(group.rank());
      for (int round = 0; round < rounds; ++round) {
        values.fill(round);
        group.barrier();
        const auto begin = std::chrono::steady_clock::now();
        work(group);
        group.barrier();
        if (group.rank() == 0)
          seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      }
    });
    state.SetIterationTime(seconds);
  }
}

std::vector<Tensor> arenas(int workers, std::int64_t count) {
  std::vector<Tensor> values;
  for (int rank = 0; rank < workers; ++rank) values.push_back(values_of(count));
  return values;
}

/// The ceiling: each worker copies its arena.
void copy(benchmark::State& state) {
  const int workers = static_cast<int>(state.range(0));
  std::vector<Tensor> from = arenas(workers, state.range(1)), to = arenas(workers, state.range(1));
  const auto mine = [&](int rank) -> Tensor& { return from[static_cast<std::size_t>(rank)]; };
  time_group(state, workers, mine, [&](Communicator& group) {
    const auto at = static_cast<std::size_t>(group.rank());
    std::memcpy(to[at].raw(), from[at].raw(), from[at].bytes());
  });
  count_bytes(state, 2.0 * workers * static_cast<double>(from[0].bytes()));
}

/// Every arena is read and written once.
void reduce_on_threads(benchmark::State& state) {
  const int workers = static_cast<int>(state.range(0));
  std::vector<Tensor> values = arenas(workers, state.range(1));
  const auto mine = [&](int rank) -> Tensor& { return values[static_cast<std::size_t>(rank)]; };
  time_group(state, workers, mine, [&](Communicator& group) { group.all_reduce_mean(mine(group.rank()), 1, workers); });
  count_bytes(state, 2.0 * workers * static_cast<double>(values[0].bytes()));
}

Contribution contribution_of(int worker, std::int64_t count) {
  Contribution made{.carries = Carries::Differences, .workers = 1, .weight = 1, .unit = 1};
  made.states = {{.worker = worker}};
  made.sums = {values_of(count)};
  return made;
}

void encode_contribution(benchmark::State& state) {
  const Contribution made = contribution_of(0, state.range(1));
  const EncodeOptions options{.codec = static_cast<Codec>(state.range(0))};
  std::size_t sent = 0;
  for (auto _ : state) {
    sent = 0;
    encode(made, options, [&](std::span<const std::byte> piece) { sent += piece.size(); });
  }
  count_bytes(state, static_cast<double>(made.sums[0].bytes() + sent));
  state.counters["sent_MB"] = static_cast<double>(sent) / 1e6;
}

void decode_contribution(benchmark::State& state) {
  const std::vector<std::byte> bytes =
      encode(contribution_of(0, state.range(1)), {.codec = static_cast<Codec>(state.range(0))});
  for (auto _ : state) benchmark::DoNotOptimize(decode(bytes));
  count_bytes(state, static_cast<double>(bytes.size()) + 4.0 * static_cast<double>(state.range(1)));
}

/// One more contribution into the sum of the others: two are read and one is written.
void merge_contribution(benchmark::State& state) {
  Contribution all = contribution_of(0, state.range(0));
  const Contribution more = contribution_of(1, state.range(0));
  for (auto _ : state) {
    all.merge(more);
    all.states = {{.worker = 0}};
    all.workers = 1;
    all.weight = 1;
  }
  count_bytes(state, 3.0 * static_cast<double>(all.sums[0].bytes()));
}

/// The start, the mean and the velocity are read, and the last two written.
void apply_diloco(benchmark::State& state) {
  const Tensor start = values_of(state.range(0));
  Tensor mean = values_of(state.range(0));
  const std::unique_ptr<OuterOptimizer> outer = diloco();
  outer->begin(start);
  for (auto _ : state) outer->step(start, mean, 0.01);
  count_bytes(state, 5.0 * static_cast<double>(start.bytes()));
}

/// A network that moves so many bytes in a second, of and to each member at once, by a ring.
class Network final : public Communicator {
 public:
  Network(Communicator& members, double bytes_per_second) : members_(members), bytes_per_second_(bytes_per_second) {}

  int rank() const override { return members_.rank(); }
  int size() const override { return members_.size(); }
  Attendance barrier(std::chrono::nanoseconds timeout, int quorum) override {
    return members_.barrier(timeout, quorum);
  }
  void broadcast(Tensor& values, int root) override { members_.broadcast(values, root); }
  void all_reduce_sum(Tensor& values) override { members_.all_reduce_sum(values); }
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    const double sent = 2.0 * static_cast<double>(values.bytes()) * (size() - 1) / size();
    const auto begin = std::chrono::steady_clock::now();
    members_.all_reduce_mean(values, scale, divisor);
    std::this_thread::sleep_until(begin + std::chrono::duration<double>(sent / bytes_per_second_));
  }

 private:
  Communicator& members_;
  double bytes_per_second_;
};

/// A step of ResNet-50 on each of two workers of a thread, with gradients in common over a network of 10 Gbit/s;
/// `exchange` 0: none, 1: after each bucket, 2: while the backward pass goes on.
void step_with_gradients_in_common(benchmark::State& state) {
  const auto exchange = state.range(0);
  const Dim batch = 4, steps = 3;
  const NetParam net = example::resnet50(batch);
  const SourcePtr noise = from_callback(
      {{"data", {3, 224, 224}, DType::F32}, {"label", {}, DType::I32}},
      64,
      [](Dim index, std::span<std::byte* const> out) {
        auto* const pixels = reinterpret_cast<float*>(out[0]);
        for (Dim i = 0; i < Dim{3} * 224 * 224; ++i)
          pixels[i] = static_cast<float>((i * 7919 + index * 104729) % 256) / 128 - 1;
        const auto label = static_cast<std::int32_t>(index);
        std::memcpy(out[1], &label, sizeof label);
      });
  run_on_threads(2, [&](Communicator& members) {
    Network network(members, 1.25e9);
    AveragingOptions options{.round = {.max_steps = steps}};
    if (exchange > 0) options.gradients = SharedGradients{.overlap = exchange == 2};
    AveragingSolver solver({.base_lr = 1e-4, .max_iter = 1 << 20}, net, network, options, {.threads = 1});
    solver.solver().set_training_data(noise);
    solver.solver().step();
    const auto run = [&] {
      members.barrier();
      const auto begin = std::chrono::steady_clock::now();
      solver.solver().step(steps);
      members.barrier();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    // Rank 0 says whether there is another turn.
    for (Tensor goes_on(Shape{1});;) {
      if (members.rank() == 0) goes_on.fill(state.KeepRunningBatch(steps) ? 1 : 0);
      members.broadcast(goes_on, 0);
      if (goes_on.get<float>(0) == 0) return;
      const double seconds = run();
      if (members.rank() == 0) state.SetIterationTime(seconds);
    }
  });
}

void groups(benchmark::internal::Benchmark* benchmark) {
  for (const std::int64_t count : {lenet, caffenet})
    for (const int workers : {1, 2, 4}) benchmark->Args({workers, count});
  benchmark->ArgNames({"workers", "count"})->UseManualTime()->Unit(benchmark::kMillisecond);
}

void codecs(benchmark::internal::Benchmark* benchmark) {
  for (const std::int64_t count : {lenet, caffenet})
    for (const int codec : {0, 1, 2}) benchmark->Args({codec, count});
  benchmark->ArgNames({"codec", "count"})->Unit(benchmark::kMillisecond);
}

BENCHMARK(copy)->Apply(groups);
BENCHMARK(reduce_on_threads)->Apply(groups);
BENCHMARK(encode_contribution)->Apply(codecs);
BENCHMARK(decode_contribution)->Apply(codecs);
BENCHMARK(merge_contribution)->Arg(lenet)->Arg(caffenet)->Unit(benchmark::kMillisecond);
BENCHMARK(apply_diloco)->Arg(lenet)->Arg(caffenet)->Unit(benchmark::kMillisecond);
BENCHMARK(step_with_gradients_in_common)
    ->ArgName("exchange")
    ->DenseRange(0, 2)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
