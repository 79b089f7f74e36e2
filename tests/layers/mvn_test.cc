#include "sparknet/layers/mvn.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam mvn(MVNOptions options = {}) {
  return MVNLayer{"mvn", {"x"}, options};
}

/// The formula, row by row.
Tensor normalized(const Tensor& x, std::size_t row, bool divide, double eps) {
  Tensor y = x.copy();
  const auto values = y.span<double>();
  for (std::size_t at = 0; at < values.size(); at += row) {
    double mean = 0, squares = 0;
    for (const double value : values.subspan(at, row)) mean += value / static_cast<double>(row);
    for (const double value : values.subspan(at, row)) squares += (value - mean) * (value - mean);
    const double divisor = std::sqrt(squares / static_cast<double>(row)) + eps;
    for (double& value : values.subspan(at, row)) value = (value - mean) / (divide ? divisor : 1);
  }
  return y;
}

}  // namespace

TEST_CASE("MVNLayer: description") {
  check_description<MVNLayer>();
  CHECK(MVNLayer{"mvn", {"x"}} == MVNLayer{"mvn", {"x"}, {.eps = 1e-9}});
  CHECK(mvn() != mvn({.across_channels = true}));
  CHECK(mvn().options_text() == "");
  CHECK(
      mvn({.normalize_variance = false, .across_channels = true, .eps = 0.5}).options_text() ==
      "{.normalize_variance = false, .across_channels = true, .eps = 0.5}");
  CHECK(shape_of(mvn(), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
}

TEST_CASE("MVNLayer: hand-made cases") {
  // Deviations of 1, 2 and, across the channels, of sqrt(46).
  const Tensor x = numbers({1, 2, 2}, {1, 3, 12, 16});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const SoloOptions solo{.dtype = dtype};
    const double close = dtype == DType::F32 ? 1e-6 : 1e-8;
    const auto expect = [&](const MVNOptions& options, std::initializer_list<double> values) {
      check_equal(top_of(mvn(options), {x}, {}, solo), numbers({1, 2, 2}, values).cast(dtype), close);
    };
    expect({}, {-1, 1, -1, 1});
    expect({.eps = 1}, {-0.5, 0.5, -2.0 / 3, 2.0 / 3});
    expect({.normalize_variance = false}, {-1, 1, -2, 2});
    expect({.normalize_variance = false, .across_channels = true}, {-7, -5, 4, 8});
    const double d = std::sqrt((49 + 25 + 16 + 64) / 4.0);
    expect({.across_channels = true}, {-7 / d, -5 / d, 4 / d, 8 / d});
  }
}

TEST_CASE("MVNLayer: values of any shape") {
  for (const auto& [shape, each, across] :
       {std::tuple<Shape, std::size_t, std::size_t>{{2, 3, 4, 5}, 20, 60},
        {{3, 7}, 1, 7},
        {{5}, 1, 1},
        {{2, 2, 9, 2, 3}, 54, 108}}) {
    const Tensor x = noise(shape);
    for (const bool divide : {false, true}) {
      check_equal(top_of(mvn({.normalize_variance = divide, .eps = 0.1}), {x}), normalized(x, each, divide, 0.1));
      check_equal(
          top_of(mvn({.normalize_variance = divide, .across_channels = true, .eps = 0.1}), {x}),
          normalized(x, across, divide, 0.1));
    }
  }
}

TEST_CASE("MVNLayer: gradients") {
  for (const bool across : {false, true}) {
    for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{3, 1, 7}, Shape{1, 2, 17, 2}}) {
      check_gradients_of(mvn({.across_channels = across}), {shape}, {.step = 1e-5});
      check_gradients_of(mvn({.across_channels = across, .eps = 0.5}), {shape}, {.step = 1e-5});
      check_gradients_of(mvn({.normalize_variance = false, .across_channels = across}), {shape});
    }
  }
}

TEST_CASE("MVNLayer: reads the top alone, and runs in place") {
  for (const bool divide : {false, true}) {
    const SoloLayer solo(mvn({.normalize_variance = divide}), {{2, 3, 4}}, {});
    CHECK(solo.setup().in_place_bottoms == 1);
    CHECK_FALSE(solo.setup().reads_bottoms);
    CHECK(solo.setup().reads_tops == divide);
  }
}

TEST_CASE("MVNLayer: equal numbers become 0") {
  const Tensor zeros({1, 1, 100}, DType::F64);
  Tensor halves = zeros.copy();
  halves.fill(0.5);
  SoloLayer solo = ran(mvn(), {halves});
  check_equal(solo.io().top(), zeros);
  solo.io().top_diff().fill(1);
  solo.backward();
  check_equal(solo.io().bottom_diff(), zeros);
}

TEST_CASE("MVNLayer: messages") {
  CHECK(refusal(mvn({.eps = -1}), {{2, 3}}) == "option .eps must be finite and not below 0, not -1");
}
