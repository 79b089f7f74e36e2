// The way of an example from its file to a batch.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "sparknet/data/feed.h"
#include "sparknet/data/mnist.h"
#include "sparknet/random.h"
#include "src/data/transform.h"

namespace {

using namespace sparknet;

SourcePtr random_images(Dim size, const Shape& shape) {
  Tensor data({size, shape[0], shape[1], shape[2]}, DType::U8), label({size, 1}, DType::U8);
  Random random(1);
  for (std::uint8_t& pixel : data.span<std::uint8_t>()) pixel = static_cast<std::uint8_t>(random.bits());
  for (std::uint8_t& value : label.span<std::uint8_t>()) value = static_cast<std::uint8_t>(random.below(10));
  return from_tensors({{"data", data}, {"label", label}});
}

/// GB/s counts what is read, the mean included, and what is written.
void transform(benchmark::State& state, const Shape& shape, const Transform& options, bool flip) {
  const auto transformer = detail::make_transformer({"data", shape, DType::U8}, options, true, DType::F32);
  const Dim batch = 64, in = shape.count(), out = transformer->shape().count();
  std::vector<std::byte> source(static_cast<std::size_t>(batch * in)),
      target(static_cast<std::size_t>(batch * out) * 4);
  for (auto _ : state) {
    for (Dim n = 0; n < batch; ++n)
      transformer->apply(source.data() + n * in, target.data() + n * out * 4, {0, 0, flip});
    benchmark::DoNotOptimize(target.data());
    benchmark::ClobberMemory();
  }
  const Dim bytes = batch * out * (options.mean.defined() ? 9 : 5);
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(bytes) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK_CAPTURE(transform, mnist_scale, Shape{1, 28, 28}, Transform{.scale = 1.0 / 256}, false);
BENCHMARK_CAPTURE(transform, cifar_mean_values, Shape{3, 32, 32}, Transform{.mean_values = {1, 2, 3}}, false);
BENCHMARK_CAPTURE(transform, cifar_mean_image, Shape{3, 32, 32}, Transform{.mean = Tensor({3, 32, 32})}, false);
BENCHMARK_CAPTURE(
    transform, imagenet_crop, Shape{3, 256, 256}, Transform{.mean_values = {1, 2, 3}, .crop = 227}, false);
BENCHMARK_CAPTURE(
    transform, imagenet_crop_flip, Shape{3, 256, 256}, Transform{.mean_values = {1, 2, 3}, .crop = 227, .mirror = true},
    true);
BENCHMARK_CAPTURE(
    transform, imagenet_crop_mean_image, Shape{3, 256, 256}, Transform{.mean = Tensor({3, 256, 256}), .crop = 227},
    false);

/// Shuffled LeNet batches; arguments: batches ahead, and microseconds of other work for each batch.
void feed(benchmark::State& state) {
  const std::vector<FeedSlot> slots = {{"data", {64, 1, 28, 28}}, {"label", {64, 1}}};
  Feed batches(
      random_images(60'000, {1, 28, 28}),
      slots,
      {.shuffle = true, .transforms = {{"data", {.scale = 1.0 / 256}}}, .prefetch = static_cast<int>(state.range(0))});
  std::vector<Tensor> out;
  for (const FeedSlot& slot : slots) out.emplace_back(slot.shape, slot.dtype);
  const std::chrono::microseconds work(state.range(1));
  for (auto _ : state) {
    batches.next(out);
    const auto end = std::chrono::steady_clock::now() + work;
    while (work.count() > 0 && std::chrono::steady_clock::now() < end) benchmark::DoNotOptimize(out.data());
  }
  state.counters["batches/s"] = benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(feed)->ArgNames({"prefetch", "work_us"})->ArgsProduct({{0, 1, 3}, {0, 100}})->UseRealTime();

/// Needs SPARKNET_DATA_DIR.
void read_mnist_files(benchmark::State& state) {
  const char* const data = std::getenv("SPARKNET_DATA_DIR");
  const std::filesystem::path folder = std::filesystem::path(data ? data : "") / "mnist";
  if (!data || !std::filesystem::exists(folder)) return state.SkipWithError("there is no $SPARKNET_DATA_DIR/mnist");
  Dim bytes = 0;
  for (auto _ : state) {
    const SourcePtr source = read_mnist_folder(folder, true);
    for (const Column& column : source->columns()) bytes += source->size() * column.shape.count();
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(bytes) * 1e-9, benchmark::Counter::kIsRate);
}

BENCHMARK(read_mnist_files)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
