#pragma once

// What the tests of all layers share.

#include <doctest/doctest.h>

#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "sparknet/check_gradients.h"
#include "sparknet/net_param.h"
#include "src/solo_layer.h"
#include "tests/aggregate_fields.h"

namespace sparknet::test {

inline Tensor numbers(const Shape& shape, std::initializer_list<double> values) {
  return Tensor::from<double>(shape, values);
}

/// Standard normal numbers.
inline Tensor noise(const Shape& shape, std::uint64_t seed = 1, DType dtype = DType::F64) {
  Tensor tensor(shape, dtype);
  Random random(seed);
  fill(Filler::gaussian(0, 1), tensor, random);
  return tensor;
}

/// A layer by itself that ran forward on these inputs and parameters.
inline SoloLayer ran(
    const LayerParam& layer, const std::vector<Tensor>& bottoms, const std::vector<Tensor>& params = {},
    const SoloOptions& options = {}) {
  std::vector<Shape> shapes;
  for (const Tensor& bottom : bottoms) shapes.push_back(bottom.shape());
  SoloLayer solo(layer, shapes, options);
  for (std::size_t i = 0; i < bottoms.size(); ++i) solo.io().bottoms[i].copy_from(bottoms[i].cast(options.dtype));
  REQUIRE(solo.io().params.size() == params.size());
  for (std::size_t i = 0; i < params.size(); ++i) solo.io().params[i].copy_from(params[i].cast(options.dtype));
  solo.forward();
  return solo;
}

/// Top 0 of such a layer.
inline Tensor top_of(
    const LayerParam& layer, const std::vector<Tensor>& bottoms, const std::vector<Tensor>& params = {},
    const SoloOptions& options = {}) {
  return ran(layer, bottoms, params, options).io().top();
}

inline void check_equal(const Tensor& actual, const Tensor& expected, double tolerance = 1e-12) {
  CHECK_MESSAGE(equal(actual, expected, tolerance), to_string(actual), "\nexpected\n", to_string(expected));
}

inline void check_gradients_of(
    const LayerParam& layer, const std::vector<CheckInput>& bottoms, const GradientCheckOptions& options = {}) {
  CAPTURE(layer.options_text());
  const GradientReport report = check_gradients(layer, bottoms, options);
  CHECK_MESSAGE(report.passed, report.text);
}

/// Why a layer refuses inputs of these shapes; "" where it takes them.
inline std::string refusal(const LayerParam& layer, const std::vector<Shape>& bottoms) {
  try {
    layer.infer(bottoms);
  } catch (const BadInput& why) {
    return why.what();
  }
  return "";
}

inline Shape shape_of(const LayerParam& layer, const std::vector<Shape>& bottoms) {
  return layer.infer(bottoms).at(0);
}

/// A layer that takes over a ReLU must compute the same, forward and backward, as the ReLU after the layer does.
inline void check_fused_equals_unfused(
    const LayerParam& layer, const Tensor& bottom, const std::vector<Tensor>& params, double negative_slope) {
  SoloLayer fused = ran(layer, {bottom}, params, {.fuse = FusedReLU{negative_slope}});
  SoloLayer plain = ran(layer, {bottom}, params);
  REQUIRE(fused.fused());

  const auto relu = [&](double gate, double x) { return gate > 0 ? x : negative_slope * x; };
  const auto top = plain.io().top().span<double>();
  Tensor expected = plain.io().top().copy();
  for (double& y : expected.span<double>()) y = relu(y, y);
  check_equal(fused.io().top(), expected);

  const Tensor gradient = noise(expected.shape(), 77);
  fused.io().top_diff().copy_from(gradient);
  plain.io().top_diff().copy_from(gradient);
  const auto diff = plain.io().top_diff().span<double>();
  for (std::size_t i = 0; i < diff.size(); ++i) diff[i] = relu(top[i], diff[i]);
  fused.backward();
  plain.backward();
  check_equal(fused.io().bottom_diff(), plain.io().bottom_diff());
  for (std::size_t p = 0; p < params.size(); ++p) check_equal(fused.io().param_diff(p), plain.io().param_diff(p));
}

/// What holds for the description of every layer with options.
template <class L>
void check_description() {
  using Options = decltype(L::options);
  static_assert(LayerSpec<L>);
  static_assert(std::is_aggregate_v<L> && std::is_aggregate_v<Options>);
  std::size_t fields = 0;
  Options::fields([&](const char*, auto) { ++fields; });
  CHECK(fields == aggregate_fields<Options>());
}

}  // namespace sparknet::test
