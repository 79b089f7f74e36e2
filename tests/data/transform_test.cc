#include "src/data/transform.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "sparknet/random.h"

using namespace sparknet;

namespace {

/// Caffe's definition, an element at a time.
double reference(
    const std::vector<double>& in, const Shape& shape, const Transform& transform, const std::vector<double>& mean,
    const detail::Placement& placement, Dim channel, Dim y, Dim x) {
  const Dim cut = transform.crop == 0 ? shape[2] : transform.crop;
  const Dim column = placement.left + (placement.flip ? cut - 1 - x : x);
  const auto at = static_cast<std::size_t>((channel * shape[1] + placement.top + y) * shape[2] + column);
  double subtracted = 0;
  if (!mean.empty()) subtracted = mean[at];
  if (transform.mean_values.size() == 1) subtracted = transform.mean_values[0];
  if (transform.mean_values.size() > 1) subtracted = transform.mean_values[static_cast<std::size_t>(channel)];
  return (in[at] - subtracted) * transform.scale;
}

std::vector<double> to_doubles(const Tensor& tensor) {
  const Tensor cast = tensor.cast(DType::F64);
  const auto values = cast.span<double>();
  return {values.begin(), values.end()};
}

Tensor random_tensor(const Shape& shape, DType dtype, Random& random) {
  Tensor values(shape, DType::F64);
  for (double& value : values.span<double>())
    value = dtype == DType::I32 ? random.uniform(-1e9, 1e9) : random.uniform(0, 255);
  return values.cast(dtype);
}

}  // namespace

TEST_CASE("the fused transform is Caffe's, for all types, means, crops and flips") {
  Random random(21);
  const DType types[] = {DType::F32, DType::F64, DType::U8, DType::I32};
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    const auto dim = [&](std::uint64_t most) { return 1 + static_cast<Dim>(random.below(most)); };
    const Shape shape = {dim(4), dim(20), dim(40)};
    const DType in = types[random.below(4)], out = types[random.below(2)];
    Transform transform{.scale = random.below(3) == 0 ? 1 : random.uniform(-2, 2), .mirror = random.below(2) == 0};
    if (random.below(2) == 0) transform.crop = dim(static_cast<std::uint64_t>(std::min(shape[1], shape[2])));
    std::vector<double> mean;
    switch (random.below(4)) {
      case 0: break;
      case 1: transform.mean_values = {random.uniform(0, 255)}; break;
      case 2:
        for (Dim c = 0; c < shape[0]; ++c) transform.mean_values.push_back(random.uniform(0, 255));
        break;
      case 3:
        transform.mean = random_tensor(shape, types[random.below(4)], random);
        mean = to_doubles(transform.mean);
        break;
    }
    const bool training = random.below(3) != 0;

    const Tensor data = random_tensor(shape, in, random);
    const auto transformer = detail::make_transformer({"data", shape, in}, transform, training, out);
    const detail::Placement placement = transformer->place(random.bits(), random.bits());
    Tensor result(transformer->shape(), out);
    transformer->apply(data.raw(), result.raw(), placement);

    const std::vector<double> values = to_doubles(data), got = to_doubles(result);
    std::size_t i = 0, wrong = 0;
    for (Dim c = 0; c < result.shape()[0]; ++c)
      for (Dim y = 0; y < result.shape()[1]; ++y)
        for (Dim x = 0; x < result.shape()[2]; ++x, ++i) {
          const double wanted = reference(values, shape, transform, mean, placement, c, y, x);
          const double size = in == DType::I32 || transform.mean.dtype() == DType::I32 ? 1e9 : 255;
          const double error = (out == DType::F64 ? 1e-15 : 1e-7) * 4 * size * std::abs(transform.scale);
          wrong += !(std::abs(got[i] - wanted) <= error);
        }
    CHECK(wrong == 0);
  }
}

TEST_CASE("without options a transform only converts, exactly") {
  const std::int32_t low = std::numeric_limits<std::int32_t>::min();
  const Tensor whole = Tensor::from<std::int32_t>({4}, {0, -1, 16'777'217, low});
  Tensor exact({4}, DType::F64), rounded({4});
  detail::make_transformer({"x", {4}, DType::I32}, {}, true, DType::F64)->apply(whole.raw(), exact.raw(), {});
  detail::make_transformer({"x", {4}, DType::I32}, {}, true, DType::F32)->apply(whole.raw(), rounded.raw(), {});
  CHECK_UNARY(exact == whole.cast(DType::F64));
  CHECK_UNARY(rounded == whole.cast(DType::F32));

  // A float near 2^24 keeps no unit: the mean is subtracted first.
  Tensor difference({4});
  detail::make_transformer({"x", {4}, DType::I32}, {.mean_values = {16'777'216}}, true, DType::F32)
      ->apply(whole.raw(), difference.raw(), {});
  CHECK(difference.get<float>(2) == 1);
}

TEST_CASE("a mean may be a batch of one, as Caffe's mean files are") {
  const Tensor data = Tensor::from<std::uint8_t>({1, 2, 2}, {1, 2, 3, 4});
  const Tensor mean = Tensor::from<float>({1, 1, 2, 2}, {1, 1, 1, 0.5F});
  Tensor result({1, 2, 2});
  detail::make_transformer({"data", {1, 2, 2}, DType::U8}, {.scale = 2, .mean = mean}, false, DType::F32)
      ->apply(data.raw(), result.raw(), {});
  CHECK_UNARY(result == Tensor::from<float>({1, 2, 2}, {0, 2, 4, 7}));
}

TEST_CASE("places are drawn evenly for training and fixed for testing") {
  const Column column{"data", {1, 6, 5}, DType::U8};
  const Transform transform{.crop = 4, .mirror = true};
  const auto fixed = detail::make_transformer(column, transform, false, DType::F32);
  for (std::uint64_t example = 0; example < 10; ++example) {
    const detail::Placement place = fixed->place(1, example);
    CHECK(place.top == 1);
    CHECK(place.left == 0);
    CHECK(!place.flip);
  }

  const auto drawn = detail::make_transformer(column, transform, true, DType::F32);
  int seen[3][2][2] = {};
  for (std::uint64_t example = 0; example < 12'000; ++example) {
    const detail::Placement place = drawn->place(1, example);
    REQUIRE_UNARY(place.top >= 0 && place.top <= 2 && place.left >= 0 && place.left <= 1);
    ++seen[place.top][place.left][place.flip ? 1 : 0];
  }
  for (const auto& row : seen)
    for (const auto& cell : row)
      for (const int count : cell) CHECK(std::abs(count - 1000) < 5 * 31);

  const auto mirrored = detail::make_transformer(column, {.mirror = true}, true, DType::F32);
  CHECK(mirrored->place(1, 2).top == 0);
  CHECK(mirrored->shape() == column.shape);
}
