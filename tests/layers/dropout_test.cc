#include "sparknet/layers/dropout.h"

#include <algorithm>
#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam dropout(double ratio) {
  return DropoutLayer{"drop", {"x"}, {.ratio = ratio}};
}

Tensor ones(Dim count) {
  Tensor tensor({count}, DType::F64);
  tensor.fill(1);
  return tensor;
}

}  // namespace

TEST_CASE("DropoutLayer: description") {
  check_description<DropoutLayer>();
  CHECK(DropoutLayer{"drop", {"x"}} == DropoutLayer{"drop", {"x"}, {.ratio = 0.5}});
  CHECK(dropout(0.5) != dropout(0.4));
  CHECK(dropout(0.5).options_text() == "");
  CHECK(dropout(0.4).options_text() == "{.ratio = 0.4}");
  CHECK(shape_of(dropout(0.5), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("DropoutLayer: drops a share and scales the rest") {
  for (const double ratio : {0.1, 0.5, 0.8}) {
    const Tensor y = top_of(dropout(ratio), {ones(20000)});
    const auto values = y.span<double>();
    const auto dropped = std::ranges::count(values, 0.0);
    CHECK(std::abs(static_cast<double>(dropped) / 20000 - ratio) < 0.02);
    for (const double v : values) CHECK_MESSAGE((v == 0 || v == doctest::Approx(1 / (1 - ratio))), v);
  }
  check_equal(top_of(dropout(0), {noise({3, 5})}), noise({3, 5}));
}

TEST_CASE("DropoutLayer: does nothing in the test phase, in place or not") {
  const Tensor x = noise({3, 5});
  check_equal(top_of(dropout(0.5), {x}, {}, {.phase = Phase::Test}), x);
  check_equal(top_of(dropout(0.5), {x}, {}, {.phase = Phase::Test, .in_place = true}), x);
}

TEST_CASE("DropoutLayer: what is dropped is a function of seed and step") {
  const auto mask = [](std::uint64_t seed, std::uint64_t step, int threads, DType dtype) {
    SoloLayer solo(dropout(0.5), {{1000}}, {.dtype = dtype, .threads = threads, .seed = seed});
    solo.io().step_sequence = step;
    solo.io().bottoms[0].fill(1);
    solo.forward();
    return solo.io().top().cast(DType::F64);
  };
  const Tensor first = mask(1, 1, 1, DType::F64);
  CHECK(mask(1, 1, 1, DType::F64) == first);
  CHECK(mask(1, 1, 2, DType::F64) == first);
  CHECK(mask(1, 1, 1, DType::F32) == first);
  CHECK_FALSE(mask(2, 1, 1, DType::F64) == first);
  CHECK_FALSE(mask(1, 2, 1, DType::F64) == first);
}

TEST_CASE("DropoutLayer: gradients") {
  for (const double ratio : {0.0, 0.3, 0.75})
    for (const Shape& shape : {Shape{1}, Shape{2, 3, 4, 5}, Shape{3, 67}}) check_gradients_of(dropout(ratio), {shape});
}

TEST_CASE("DropoutLayer: messages") {
  CHECK(refusal(dropout(1), {{2}}) == "option .ratio must be at least 0 and less than 1, not 1");
  CHECK(refusal(dropout(-0.1), {{2}}) == "option .ratio must be at least 0 and less than 1, not -0.1");
}
