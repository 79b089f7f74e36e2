// The kernels on the shapes of four nets, against what the machine can do: the rate of multiply-adds on registers, and
// the rate of copying arrays as large as the operation's. Convolutions by minimal filtering pass the first, as the
// operations counted are those of plain sums.
//
//   kernels_bench [--benchmark_filter=lenet] [--benchmark_repetitions=9]
//
// peak: the share of the multiply-add rate. ceiling: the share of whichever limit binds. Of the repetitions, which are
// interleaved with those of the other benchmarks, look at the lower quartile of the times and at the upper one of the
// rates: other programs only ever add time.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/kernels.h"
#include "kernels/thread_team.h"

namespace sparknet::kernels {
namespace {

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The least of several times.
double least_seconds(int repeats, const std::function<void()>& f) {
  double least = seconds_of(f);
  for (int i = 1; i < repeats; ++i) least = std::min(least, seconds_of(f));
  return least;
}

/// Floating-point operations in a second.
double flop_peak(int threads) {
  constexpr Index kSteps = 1 << 20;
  const cpu::HotTable<float>& hot = cpu::hot_for(best_isa()).f32;
  ThreadTeam team(threads);
  const double seconds = least_seconds(20, [&] { team.run([&](int) { benchmark::DoNotOptimize(hot.peak(kSteps)); }); });
  return 2.0 * static_cast<double>(hot.lanes * hot.peak_chains * kSteps * threads) / seconds;
}

/// Calls work(from, to, elements) on arrays of each thread's own, of `bytes` in all, and again; returns the calls a
/// second.
template <class Work>
double passes_per_second(int threads, double bytes, const Work& work) {
  const auto each = static_cast<std::size_t>(bytes / 2 / sizeof(float) / threads) + 1;
  std::vector<std::vector<float>> from(static_cast<std::size_t>(threads), std::vector<float>(each, 1)), to = from;
  ThreadTeam team(threads);
  const int rounds = std::max(1, static_cast<int>(3e6 / bytes));
  const double seconds = least_seconds(15, [&] {
    team.run([&](int worker) {
      const auto w = static_cast<std::size_t>(worker);
      for (int round = 0; round < rounds; ++round) {
        work(from[w].data(), to[w].data(), each);
        benchmark::ClobberMemory();
      }
    });
  });
  return rounds / seconds;
}

/// Bytes in a second, read and written, of copying so that `bytes` are touched in all.
double copy_peak(int threads, double bytes) {
  return bytes * passes_per_second(threads, bytes, [](const float* from, float* to, std::size_t count) {
           std::memcpy(to, from, count * sizeof(float));
         });
}

/// The same of y += a * x, whose y is read and written.
double triad_peak(int threads, double bytes) {
  const cpu::HotTable<float>& hot = cpu::hot_for(best_isa()).f32;
  return 1.5 * bytes * passes_per_second(threads, bytes, [&](const float* from, float* to, std::size_t count) {
           hot.axpy(static_cast<Index>(count), 1e-9f, from, to);
         });
}

double peak_of(int threads) {
  static std::map<int, double> known;
  const auto found = known.find(threads);
  return found != known.end() ? found->second : known[threads] = flop_peak(threads);
}

double copy_of(int threads, double bytes) {
  static std::map<std::pair<int, double>, double> known;
  const auto key = std::make_pair(threads, bytes);
  const auto found = known.find(key);
  return found != known.end() ? found->second : known[key] = copy_peak(threads, bytes);
}

/// A backend and arrays of it that go with the benchmark.
class Bench {
 public:
  explicit Bench(int threads) : backend_(make_cpu_backend(threads)) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    for (void* array : arrays_) backend_->release(array);
  }

  Backend& backend() { return *backend_; }
  void* bytes(std::size_t count) {
    arrays_.push_back(backend_->allocate(count));
    return arrays_.back();
  }
  /// Numbers around 0.
  float* floats(Index count) {
    float* const array = static_cast<float*>(bytes(static_cast<std::size_t>(count) * sizeof(float)));
    std::mt19937 engine(5);
    std::uniform_real_distribution<float> numbers(-1, 1);
    for (Index i = 0; i < count; ++i) array[i] = numbers(engine);
    return array;
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::vector<void*> arrays_;
};

/// Runs f and reports. `flops` and `bytes` are those of one call; 0 flops where memory alone counts.
void measure(benchmark::State& state, int threads, double flops, double bytes, const std::function<void()>& f) {
  f();
  for (auto _ : state) f();
  using benchmark::Counter;
  const auto calls = static_cast<double>(state.iterations());
  const double ceiling = std::max(flops / peak_of(threads), bytes / copy_of(threads, bytes));
  if (flops > 0) {
    state.counters["GFLOP/s"] = Counter(calls * flops / 1e9, Counter::kIsRate);
    state.counters["peak%"] = Counter(calls * 100 * flops / peak_of(threads), Counter::kIsRate);
  } else {
    state.counters["GB/s"] = Counter(calls * bytes / 1e9, Counter::kIsRate);
  }
  state.counters["ceiling%"] = Counter(calls * 100 * ceiling, Counter::kIsRate);
}

enum class Pass { Forward, Backward, WeightsOnly };

/// `x`, `w` and `y` are numbers of elements.
void run_linear(
    benchmark::State& state, Bench& bench, Linear& plan, Index x_count, Index w_count, Index y_count, Index outputs,
    double flops, Pass pass) {
  float* const x = bench.floats(x_count);
  float* const w = bench.floats(w_count);
  float* const b = bench.floats(outputs);
  float* const y = bench.floats(y_count);
  void* const scratch = bench.bytes(plan.scratch_bytes());
  const int threads = bench.backend().threads();
  const auto arrays = static_cast<double>(x_count + w_count + y_count) * sizeof(float);
  if (pass == Pass::Forward) {
    measure(state, threads, flops, arrays, [&] { plan.forward(x, w, b, y, scratch); });
    return;
  }
  float* const dy = bench.floats(y_count);
  float* const dw = bench.floats(w_count);
  float* const db = bench.floats(outputs);
  float* const dx = pass == Pass::Backward ? bench.floats(x_count) : nullptr;
  const BackwardArgs args{x, w, y, dy, dx, dw, db, false};
  const double times = pass == Pass::Backward ? 2 : 1;
  measure(state, threads, times * flops, times * arrays, [&] { plan.backward(args, scratch); });
}

/// The value that a quarter of the repetitions stay below.
double lower_quartile(const std::vector<double>& values) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  return sorted[(sorted.size() - 1) / 4];
}

/// The value that a quarter of the repetitions exceed.
double upper_quartile(const std::vector<double>& values) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() - 1 - (sorted.size() - 1) / 4];
}

void add(const std::string& name, const std::function<void(benchmark::State&, int)>& f) {
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (const int threads : {1, all}) {
    benchmark::RegisterBenchmark(
        (name + "/threads:" + std::to_string(threads)).c_str(),
        [f, threads](auto& state) { f(state, threads); })
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime()
        ->ComputeStatistics("lower_quartile", lower_quartile)
        ->ComputeStatistics("upper_quartile", upper_quartile);
    if (all == 1) break;
  }
}

void add_convolution(const std::string& name, const ConvolutionShape& s, Activation activation, bool needs_dx = true) {
  const Index taps = s.channels / s.group * s.kernel_h * s.kernel_w, positions = s.out_h() * s.out_w();
  const double flops = 2.0 * static_cast<double>(s.batch * s.num_output * taps * positions);
  for (const Pass pass : {Pass::Forward, Pass::Backward, Pass::WeightsOnly}) {
    if (pass == Pass::Backward && !needs_dx) continue;
    if (pass == Pass::WeightsOnly && needs_dx) continue;
    add(name + (pass == Pass::Forward ? "/forward" : "/backward"), [=](benchmark::State& state, int threads) {
      Bench bench(threads);
      const auto plan = bench.backend().convolution(DType::F32, s, activation);
      run_linear(
          state,
          bench,
          *plan,
          s.batch * s.channels * s.height * s.width,
          s.num_output * taps,
          s.batch * s.num_output * positions,
          s.num_output,
          flops,
          pass);
    });
  }
}

void add_inner_product(const std::string& name, const InnerProductShape& s, Activation activation) {
  const double flops = 2.0 * static_cast<double>(s.batch * s.inputs * s.num_output);
  for (const Pass pass : {Pass::Forward, Pass::Backward}) {
    add(name + (pass == Pass::Forward ? "/forward" : "/backward"), [=](benchmark::State& state, int threads) {
      Bench bench(threads);
      const auto plan = bench.backend().inner_product(DType::F32, s, activation);
      run_linear(
          state,
          bench,
          *plan,
          s.batch * s.inputs,
          s.num_output * s.inputs,
          s.batch * s.num_output,
          s.num_output,
          flops,
          pass);
    });
  }
}

void add_pooling(const std::string& name, const PoolingShape& s, PoolMethod method) {
  const Index in = s.batch * s.channels * s.height * s.width, out = s.batch * s.channels * s.out_h * s.out_w;
  for (const bool forward : {true, false}) {
    add(name + (forward ? "/forward" : "/backward"), [=](benchmark::State& state, int threads) {
      Bench bench(threads);
      const auto plan = bench.backend().pooling(DType::F32, s, method);
      float* const x = bench.floats(in);
      float* const y = bench.floats(out);
      void* const mask = bench.bytes(plan->mask_bytes());
      plan->forward(x, y, mask);
      const double bytes = static_cast<double>(in + out) * sizeof(float) + static_cast<double>(plan->mask_bytes());
      measure(state, threads, 0, bytes, [&] { forward ? plan->forward(x, y, mask) : plan->backward(y, mask, x); });
    });
  }
}

void add_lrn(const std::string& name, const LrnShape& s) {
  const Index count = s.batch * s.channels * s.height * s.width;
  for (const bool forward : {true, false}) {
    add(name + (forward ? "/forward" : "/backward"), [=](benchmark::State& state, int threads) {
      Bench bench(threads);
      const auto plan = bench.backend().lrn(DType::F32, s);
      float* const x = bench.floats(count);
      float* const y = bench.floats(count);
      float* const dx = bench.floats(count);
      void* const kept = bench.bytes(plan->state_bytes());
      plan->forward(x, y, kept);
      measure(state, threads, 0, static_cast<double>(count) * (forward ? 12 : 20), [&] {
        forward ? plan->forward(x, y, kept) : plan->backward(x, y, kept, y, dx);
      });
    });
  }
}

/// A batch normalisation, the scale and the ReLU behind it, forward and backward: as the three layers of a net, each in
/// place where a net lets it be, and as one. The bytes are what the one must move at least.
void add_norm_scale_relu(const std::string& name, const ChannelShape& s) {
  const Index count = s.outer * s.channels * s.inner;
  for (const bool one : {false, true}) {
    add(name + (one ? "/one" : "/three"), [=](benchmark::State& state, int threads) {
      Bench bench(threads);
      Backend& backend = bench.backend();
      const auto norm = backend.batch_norm(DType::F32, s, 1e-5);
      const auto channels = backend.channels(DType::F32, s);
      const auto all = backend.scaled_batch_norm(DType::F32, s, 1e-5, {true, 0});
      float *const x = bench.floats(count), *const h = bench.floats(count), *const y = bench.floats(count);
      float *const dy = bench.floats(count), *const dh = bench.floats(count), *const dx = bench.floats(count);
      float *const scale = bench.floats(s.channels), *const bias = bench.floats(s.channels);
      float *const dscale = bench.floats(s.channels), *const dbias = bench.floats(s.channels);
      const RunningMoments running{bench.floats(s.channels), bench.floats(s.channels), bench.floats(1)};
      void* const kept = bench.bytes(std::max(norm->state_bytes(), all->state_bytes()));
      void* const scratch = bench.bytes(std::max(channels->scratch_bytes(), all->scratch_bytes()));
      measure(state, threads, 0, 6.0 * static_cast<double>(count) * sizeof(float), [&] {
        if (one) {
          all->forward(x, 0.9, running, scale, bias, y, kept);
          all->backward({x, y, scale, dy, dx, dscale, dbias, false}, kept, scratch);
        } else {
          norm->forward(x, 0.9, running, h, kept);
          channels->affine(h, scale, bias, y);
          backend.relu(DType::F32, count, 0, y, y);
          backend.relu_backward(DType::F32, count, 0, y, dy, dh);
          channels->affine_backward({h, scale, dh, dh, dscale, dbias, false, false}, scratch);
          norm->backward(h, kept, dh, dx);
        }
      });
    });
  }
}

/// An element-wise call that touches `arrays` arrays of `count` elements.
void add_elementwise(
    const std::string& name, Index count, int arrays,
    const std::function<void(Backend&, Index, float*, float*, float*)>& f) {
  add(name, [=](benchmark::State& state, int threads) {
    Bench bench(threads);
    float* const a = bench.floats(count);
    float* const b = bench.floats(count);
    float* const c = bench.floats(count);
    measure(state, threads, 0, static_cast<double>(count * arrays) * sizeof(float), [&] {
      f(bench.backend(), count, a, b, c);
    });
  });
}

void add_elementwise_calls(const std::string& size, Index count) {
  add_elementwise("relu/" + size, count, 2, [](Backend& backend, Index n, float* a, float* b, float*) {
    backend.relu(DType::F32, n, 0, a, b);
  });
  add_elementwise("dropout/" + size, count, 2, [](Backend& backend, Index n, float* a, float* b, float*) {
    backend.dropout(DType::F32, n, 0.5, 2, 1, 2, a, b);
  });
  add_elementwise("axpy/" + size, count, 3, [](Backend& backend, Index n, float* a, float* b, float*) {
    backend.axpy(DType::F32, n, 1e-9, a, b);
  });
  add_elementwise("sum_squares/" + size, count, 1, [](Backend& backend, Index n, float* a, float*, float*) {
    double squares = 0;
    backend.add_squares(DType::F32, n, a, &squares);
    benchmark::DoNotOptimize(squares);
  });
  add_elementwise("sgd/" + size, count, 5, [](Backend& backend, Index n, float* a, float* b, float* c) {
    UpdatePass pass{.count = n, .weights = a, .gradient = b, .history = c};
    pass.rate = 1e-9, pass.momentum = 0.9, pass.decay = 5e-4;
    backend.update(DType::F32, pass);
  });
}

void add_all() {
  const Activation relu{true, 0};
  add_convolution("lenet/conv1", {64, 1, 28, 28, 20, 5, 5}, {}, false);
  add_convolution("lenet/conv2", {64, 20, 12, 12, 50, 5, 5}, {});
  add_inner_product("lenet/ip1", {64, 800, 500}, relu);
  add_inner_product("lenet/ip2", {64, 500, 10}, {});
  add_pooling("lenet/pool1", {64, 20, 24, 24, 12, 12, 2, 2, 2, 2}, PoolMethod::Max);
  add_pooling("lenet/pool2", {64, 50, 8, 8, 4, 4, 2, 2, 2, 2}, PoolMethod::Max);
  add_elementwise("lenet/softmax", 640, 2, [](Backend& backend, Index, float* a, float* b, float*) {
    backend.softmax(DType::F32, {64, 10}, a, b);
  });

  add_convolution("cifar/conv1", {100, 3, 32, 32, 32, 5, 5, 1, 1, 2, 2}, {}, false);
  add_convolution("cifar/conv2", {100, 32, 16, 16, 32, 5, 5, 1, 1, 2, 2}, relu);
  add_convolution("cifar/conv3", {100, 32, 8, 8, 64, 5, 5, 1, 1, 2, 2}, relu);
  add_inner_product("cifar/ip1", {100, 1024, 64}, {});
  add_pooling("cifar/pool1", {100, 32, 32, 32, 16, 16, 3, 3, 2, 2}, PoolMethod::Max);
  add_pooling("cifar/pool2", {100, 32, 16, 16, 8, 8, 3, 3, 2, 2}, PoolMethod::Average);

  add_convolution("alexnet/conv1", {16, 3, 227, 227, 96, 11, 11, 4, 4}, relu, false);
  add_convolution("alexnet/conv2", {16, 96, 27, 27, 256, 5, 5, 1, 1, 2, 2, 1, 1, 2}, relu);
  add_convolution("alexnet/conv3", {16, 256, 13, 13, 384, 3, 3, 1, 1, 1, 1}, relu);
  add_convolution("alexnet/conv4", {16, 384, 13, 13, 384, 3, 3, 1, 1, 1, 1, 1, 1, 2}, relu);
  add_convolution("alexnet/conv5", {16, 384, 13, 13, 256, 3, 3, 1, 1, 1, 1, 1, 1, 2}, relu);
  add_inner_product("square/1024", {1024, 1024, 1024}, {});
  add_inner_product("alexnet/fc6", {16, 9216, 4096}, relu);
  add_lrn("alexnet/norm1", {16, 96, 55, 55, 5, 1e-4, 0.75, 1, LrnRegion::AcrossChannels});
  add_pooling("alexnet/pool1", {16, 96, 55, 55, 27, 27, 3, 3, 2, 2}, PoolMethod::Max);

  // The shapes of ResNet-50 that repeat.
  add_convolution("resnet/conv1", {8, 3, 224, 224, 64, 7, 7, 2, 2, 3, 3}, {}, false);
  add_convolution("resnet/2_1x1", {8, 256, 56, 56, 64, 1, 1}, {});
  add_convolution("resnet/2_3x3", {8, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1}, {});
  add_convolution("resnet/2_expand", {8, 64, 56, 56, 256, 1, 1}, {});
  add_convolution("resnet/3_1x1", {8, 512, 28, 28, 128, 1, 1}, {});
  add_convolution("resnet/3_3x3", {8, 128, 28, 28, 128, 3, 3, 1, 1, 1, 1}, {});
  add_convolution("resnet/3_expand", {8, 128, 28, 28, 512, 1, 1}, {});
  add_convolution("resnet/4_stride", {8, 512, 28, 28, 256, 1, 1, 2, 2}, {});
  add_convolution("resnet/4_1x1", {8, 1024, 14, 14, 256, 1, 1}, {});
  add_convolution("resnet/4_3x3", {8, 256, 14, 14, 256, 3, 3, 1, 1, 1, 1}, {});
  add_convolution("resnet/4_expand", {8, 256, 14, 14, 1024, 1, 1}, {});
  add_convolution("resnet/5_1x1", {8, 2048, 7, 7, 512, 1, 1}, {});
  add_convolution("resnet/5_3x3", {8, 512, 7, 7, 512, 3, 3, 1, 1, 1, 1}, {});
  add_convolution("resnet/5_expand", {8, 512, 7, 7, 2048, 1, 1}, {});

  // Groups of one channel.
  add_convolution("mobilenet/conv2_dw", {8, 32, 112, 112, 32, 3, 3, 1, 1, 1, 1, 1, 1, 32}, {});
  add_convolution("mobilenet/conv3_dw", {8, 64, 112, 112, 64, 3, 3, 2, 2, 1, 1, 1, 1, 64}, {});
  add_convolution("mobilenet/conv5_dw", {8, 512, 14, 14, 512, 3, 3, 1, 1, 1, 1, 1, 1, 512}, {});
  add_convolution("mobilenet/conv6_dw", {8, 1024, 7, 7, 1024, 3, 3, 1, 1, 1, 1, 1, 1, 1024}, {});

  add_norm_scale_relu("resnet50/norm_64x56x56", {8, 64, 56 * 56});
  add_norm_scale_relu("resnet50/norm_512x14x14", {8, 512, 14 * 14});
  add_elementwise_calls("32K", 1 << 15);
  add_elementwise_calls("4M", 1 << 22);
}

}  // namespace
}  // namespace sparknet::kernels

int main(int argc, char** argv) {
  using namespace sparknet::kernels;
  const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (const int threads : {1, all}) {
    std::printf("%s: %.1f GFLOP/s\n", make_cpu_backend(threads)->description(), peak_of(threads) / 1e9);
    // The caches of one core, a cache that cores share, and memory.
    for (const double bytes : {16e3, 256e3, 4e6, 256e6}) {
      std::printf(
          "  %g KB for each thread: copy %.1f GB/s, triad %.1f GB/s\n",
          bytes / 1e3,
          copy_of(threads, bytes * threads) / 1e9,
          triad_peak(threads, bytes * threads) / 1e9);
    }
    if (all == 1) break;
  }
  std::fflush(stdout);

  // What the command line says comes later and wins.
  std::vector<char*> args = {argv[0]};
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  std::string tabular = "--benchmark_counters_tabular=true";
  args.push_back(interleave.data());
  args.push_back(tabular.data());
  args.insert(args.end(), argv + 1, argv + argc);
  int count = static_cast<int>(args.size());
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 1;
  add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
