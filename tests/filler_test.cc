#include "sparknet/filler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"

using namespace sparknet;

namespace {

Tensor filled(const Filler& filler, const Shape& shape, std::uint64_t seed = 1, DType dtype = DType::F64) {
  Tensor tensor(shape, dtype);
  Random random(seed);
  fill(filler, tensor, random);
  return tensor;
}

struct Moments {
  double mean = 0, std = 0, least = 0, largest = 0;
};

Moments moments(const Tensor& tensor) {
  const auto values = tensor.span<double>();
  const double count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v, squares += v * v;
  const double mean = sum / count;
  return {
      mean,
      std::sqrt(squares / count - mean * mean),
      *std::ranges::min_element(values),
      *std::ranges::max_element(values)};
}

/// [100, 50, 4, 5]: fan_in 1000, fan_out 2000, 100,000 numbers.
const Shape big{100, 50, 4, 5};

}  // namespace

TEST_CASE("filler: the default is Xavier, unlike Caffe's constant 0") {
  CHECK(Filler{} == Filler::xavier());
  CHECK(ConvolutionOptions{.kernel = 1, .num_output = 1}.weight_filler == Filler::xavier());
  CHECK(ConvolutionOptions{.kernel = 1, .num_output = 1}.bias_filler == Filler::constant(0));
  CHECK(InnerProductOptions{.num_output = 1}.weight_filler == Filler::xavier());
  CHECK(InnerProductOptions{.num_output = 1}.bias_filler == Filler::constant(0));
}

TEST_CASE("filler: constant") {
  const Tensor tensor = filled(Filler::constant(0.25), {3, 4});
  for (const double v : tensor.span<double>()) CHECK(v == 0.25);
}

TEST_CASE("filler: uniform") {
  const Moments m = moments(filled(Filler::uniform(-1, 3), big));
  CHECK(m.least >= -1);
  CHECK(m.least < -0.99);
  CHECK(m.largest < 3);
  CHECK(m.largest > 2.99);
  CHECK(std::abs(m.mean - 1) < 0.02);
  CHECK(std::abs(m.std - 4 / std::sqrt(12.0)) < 0.01);
}

TEST_CASE("filler: gaussian") {
  const Moments m = moments(filled(Filler::gaussian(2, 0.5), big));
  CHECK(std::abs(m.mean - 2) < 0.01);
  CHECK(std::abs(m.std - 0.5) < 0.01);
  CHECK(m.largest > 2 + 0.5 * 3.5);
}

TEST_CASE("filler: sparse gaussian keeps each weight with probability sparse / outputs") {
  const Tensor tensor = filled(Filler::gaussian(0, 1, 20), big);
  const auto values = tensor.span<double>();
  const double kept = static_cast<double>(values.size()) - static_cast<double>(std::ranges::count(values, 0.0));
  CHECK(std::abs(kept / 1e5 - 0.2) < 0.005);
  const auto none = filled(Filler::gaussian(5, 1, 0), {4, 5});
  for (const double v : none.span<double>()) CHECK(v == 0);
  const auto all = filled(Filler::gaussian(5, 1, 4), {4, 5});
  for (const double v : all.span<double>()) CHECK(v != 0);
}

TEST_CASE("filler: the weights of each output of a positive unitball sum to 1") {
  const Tensor tensor = filled(Filler::positive_unitball(), {7, 3, 5});
  for (Dim output = 0; output < 7; ++output) {
    const Tensor weights = tensor.slice(0, output);
    double sum = 0;
    for (const double v : weights.span<double>()) {
      CHECK(v >= 0);
      sum += v;
    }
    CHECK(sum == doctest::Approx(1));
  }
}

TEST_CASE("filler: xavier") {
  for (const auto& [norm, fan] :
       {std::pair(VarianceNorm::FanIn, 1000.0), {VarianceNorm::FanOut, 2000.0}, {VarianceNorm::Average, 1500.0}}) {
    const double bound = std::sqrt(3 / fan);
    const Moments m = moments(filled(Filler::xavier(norm), big));
    CHECK(m.least >= -bound);
    CHECK(m.least < -0.99 * bound);
    CHECK(m.largest < bound);
    CHECK(m.largest > 0.99 * bound);
    CHECK(std::abs(m.mean) < 0.02 * bound);
    CHECK(m.std == doctest::Approx(std::sqrt(1 / fan)).epsilon(0.01));
  }
}

TEST_CASE("filler: msra") {
  for (const auto& [norm, fan] :
       {std::pair(VarianceNorm::FanIn, 1000.0), {VarianceNorm::FanOut, 2000.0}, {VarianceNorm::Average, 1500.0}}) {
    const Moments m = moments(filled(Filler::msra(norm), big));
    CHECK(std::abs(m.mean) < 0.001);
    CHECK(m.std == doctest::Approx(std::sqrt(2 / fan)).epsilon(0.01));
  }
}

TEST_CASE("filler: a shape with less than two dimensions has Caffe's fans too") {
  const Moments bias = moments(filled(Filler::xavier(), {10000}));  // fan_in 1
  CHECK(bias.largest > 0.99 * std::sqrt(3.0));
  CHECK(bias.largest < std::sqrt(3.0));
  CHECK(std::abs(filled(Filler::xavier(), Shape()).get<double>()) < std::sqrt(3.0));
}

TEST_CASE("filler: bilinear") {
  const Tensor two = filled(Filler::bilinear(), {1, 2, 2, 2});  // f = 1, center 0.5
  for (const double v : two.span<double>()) CHECK(v == 0.25);
  const Tensor four = filled(Filler::bilinear(), {2, 1, 4, 4});  // f = 2, center 0.75
  const double row[] = {0.25, 0.75, 0.75, 0.25};
  for (Dim n = 0; n < 2; ++n)
    for (Dim i = 0; i < 4; ++i)
      for (Dim j = 0; j < 4; ++j) CHECK(four.get<double>(n, 0, i, j) == doctest::Approx(row[i] * row[j]));
}

TEST_CASE("filler: equal seeds give equal numbers, in f32 as in f64") {
  for (const Filler& filler :
       {Filler::uniform(0, 1),
        Filler::gaussian(0, 1),
        Filler::gaussian(0, 1, 3),
        Filler::positive_unitball(),
        Filler::xavier(),
        Filler::msra()}) {
    CAPTURE(to_text(filler));
    const Tensor first = filled(filler, {5, 6});
    CHECK(filled(filler, {5, 6}) == first);
    CHECK_FALSE(filled(filler, {5, 6}, 2) == first);
    CHECK(equal(filled(filler, {5, 6}, 1, DType::F32), first.cast(DType::F32), 1e-7));
  }
}

TEST_CASE("filler: as text") {
  CHECK(to_text(Filler::constant(0)) == "Filler::constant(0)");
  CHECK(to_text(Filler::uniform(-1, 0.5)) == "Filler::uniform(-1, 0.5)");
  CHECK(to_text(Filler::gaussian(0, 0.01)) == "Filler::gaussian(0, 0.01)");
  CHECK(to_text(Filler::gaussian(0, 0.01, 15)) == "Filler::gaussian(0, 0.01, 15)");
  CHECK(to_text(Filler::positive_unitball()) == "Filler::positive_unitball()");
  CHECK(to_text(Filler::xavier()) == "Filler::xavier()");
  CHECK(to_text(Filler::xavier(VarianceNorm::Average)) == "Filler::xavier(VarianceNorm::Average)");
  CHECK(to_text(Filler::msra(VarianceNorm::FanOut)) == "Filler::msra(VarianceNorm::FanOut)");
  CHECK(to_text(Filler::bilinear()) == "Filler::bilinear()");
}

TEST_CASE("filler: messages") {
  CHECK_THROWS_WITH_AS(
      filled(Filler::bilinear(), {2, 1, 3, 4}),
      "Filler::bilinear() does not fit [2, 1, 3, 4]: it fills square kernels [N, C, K, K]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      filled(Filler::bilinear(), {3, 3}),
      "Filler::bilinear() does not fit [3, 3]: it fills square kernels [N, C, K, K]",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      filled(Filler::gaussian(0, 1, 30), {20, 500}),
      "Filler::gaussian(0, 1, 30) does not fit [20, 500]: sparse is at most the number of outputs, 20",
      ShapeError);
  CHECK_THROWS_WITH_AS(filled(Filler::xavier(), {2}, 1, DType::I32), "a filler fills f32 or f64, not i32", DTypeError);
}
