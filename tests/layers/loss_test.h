#pragma once

// What the tests of losses share.

#include <limits>
#include <string>
#include <vector>

#include "layer_test.h"
#include "tests/count_allocations.h"

namespace sparknet::test {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Why a layer refuses these values when it runs; "" where it takes them.
inline std::string forward_error(const LayerParam& layer, const std::vector<Tensor>& bottoms) {
  try {
    ran(layer, bottoms);
  } catch (const NetError& error) {
    const std::string text = error.what();
    const std::size_t begin = text.find("): ") + 3;
    return text.substr(begin, text.find('\n') - begin);
  }
  return "";
}

inline double loss_of(const LayerParam& layer, const std::vector<Tensor>& bottoms, const SoloOptions& options = {}) {
  const Tensor loss = top_of(layer, bottoms, {}, options);
  REQUIRE(loss.shape() == Shape{1});
  return loss.cast(DType::F64).get<double>(0);
}

/// The gradient of `weight` times the loss with respect to a bottom.
inline Tensor loss_gradient(
    const LayerParam& layer, const std::vector<Tensor>& bottoms, std::size_t bottom = 0, double weight = 1,
    const SoloOptions& options = {}) {
  SoloLayer solo = ran(layer, bottoms, {}, options);
  solo.io().top_diff().fill(weight);
  for (Tensor& diff : solo.io().bottom_diffs)
    if (diff.defined()) diff.fill(not_a_number);
  solo.backward();
  return solo.io().bottom_diff(bottom);
}

/// A second forward and backward pass allocates nothing and computes the same bits.
inline void check_loss_again(const LayerParam& layer, const std::vector<Tensor>& bottoms, const SoloOptions& options) {
  SoloLayer solo = ran(layer, bottoms, {}, options);
  solo.io().top_diff().fill(0.5);
  solo.backward();
  const Tensor loss = solo.io().top().copy(), gradient = solo.io().bottom_diff().copy();
  const std::size_t before = allocations();
  solo.forward();
  solo.backward();
  CHECK(allocations() == before);
  check_equal(solo.io().top(), loss, 0);
  check_equal(solo.io().bottom_diff(), gradient, 0);
}

/// What a loss of 32 bits computes is that of 64, rounded; and so is its gradient, on one thread and on three.
inline void check_loss_in_f32(const LayerParam& layer, const std::vector<Tensor>& bottoms, double tolerance = 1e-5) {
  for (const int threads : {1, 3}) {
    const SoloOptions narrow{.dtype = DType::F32, .threads = threads}, wide{.threads = threads};
    CHECK(loss_of(layer, bottoms, narrow) == doctest::Approx(loss_of(layer, bottoms)).epsilon(tolerance));
    CHECK(loss_of(layer, bottoms, wide) == doctest::Approx(loss_of(layer, bottoms)).epsilon(1e-12));
    const Tensor gradient = loss_gradient(layer, bottoms);
    check_equal(loss_gradient(layer, bottoms, 0, 1, narrow).cast(DType::F64), gradient, tolerance);
    check_equal(loss_gradient(layer, bottoms, 0, 1, wide), gradient);
    check_loss_again(layer, bottoms, narrow);
    check_loss_again(layer, bottoms, wide);
  }
}

}  // namespace sparknet::test
