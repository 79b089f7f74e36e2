#pragma once

// What the tests of layers share that apply one function to every element.

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>

#include "layer_test.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"

namespace sparknet::test {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Both signs of numbers from tiny to huge, and 0.
inline std::vector<double> wide_range() {
  std::vector<double> points = {0};
  for (const double x :
       {1e-30, 1e-5, 0.25, 1.0, 2.75, 10.0, 20.0, 49.5, 51.0, 88.5, 104.5, 700.5, 1e4, 1e19, 1e30, 3e38})
    points.insert(points.end(), {x, -x});
  return points;
}
inline std::vector<double> positive(std::vector<double> points) {
  std::erase_if(points, [](double x) { return x <= 0; });
  return points;
}

using Formula = std::function<long double(long double)>;

struct MapTolerance {
  /// In units of the last place.
  double value = 4, slope = 4;
};

template <class T>
void check_near(T actual, long double expected, double ulps, long double least, const char* what, double x) {
  constexpr long double largest = std::numeric_limits<T>::max();
  bool same = false;
  if (std::isnan(expected)) {
    same = std::isnan(actual);
  } else if (std::abs(expected) > largest * 1.0001L) {
    same = std::isinf(actual) && (actual > 0) == (expected > 0);
  } else {
    const long double error = std::abs(static_cast<long double>(actual) - expected);
    same = error <= ulps * std::numeric_limits<T>::epsilon() * std::max(std::abs(expected), least);
  }
  CHECK_MESSAGE(
      same,
      fmt::format(
          "{} at {} in {} bits: {} instead of {}",
          what,
          x,
          8 * sizeof(T),
          actual,
          static_cast<double>(expected)));
}

template <class T>
void check_map_as(
    const LayerParam& layer, const std::vector<double>& points, const Formula& value, const Formula& slope,
    const MapTolerance& tolerance) {
  const Tensor x = Tensor::from<double>({static_cast<Dim>(points.size())}, points).cast(dtype_of<T>);
  for (const bool in_place : {false, true}) {
    SoloLayer solo = ran(layer, {x}, {}, {.dtype = dtype_of<T>, .in_place = in_place});
    const auto y = std::as_const(solo.io().tops[0]).template span<T>();
    const std::vector<T> tops(y.begin(), y.end());
    solo.io().top_diff().fill(1);
    if (slope) solo.backward();
    for (std::size_t i = 0; i < points.size(); ++i) {
      const T at = x.span<T>()[i];
      // Small values keep their digits; slopes are as precise as numbers around 1.
      check_near(tops[i], value(at), tolerance.value, std::numeric_limits<T>::min() * 2.0L, "value", points[i]);
      if (!slope) continue;
      const T gradient = std::as_const(solo.io().bottom_diffs[0]).template span<T>()[i];
      check_near(gradient, slope(at), tolerance.slope, 1, "slope", points[i]);
    }
  }
}

/// Values and gradients in both precisions, in place too, against formulas.
inline void check_map(
    const LayerParam& layer, const std::vector<double>& points, const Formula& value, const Formula& slope,
    const MapTolerance& tolerance = {}) {
  CAPTURE(layer.options_text());
  check_map_as<double>(layer, points, value, slope, tolerance);
  check_map_as<float>(layer, points, value, slope, tolerance);
}

/// The gradients of the layer, and of a net that may give the memory of what it does not read to others.
inline void check_map_gradients(const LayerParam& layer, const GradientCheckOptions& options = {}) {
  for (const Shape& shape : {Shape{1}, Shape{2, 3, 4, 5}, Shape{3, 67}}) check_gradients_of(layer, {shape}, options);
  NetParam net(
      "net",
      RDDLayer{"data", {4, 6}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"x", {"data"}, {.num_output = 5}});
  net.add(layer).add(InnerProductLayer{"scores", {layer.name()}, {.num_output = 3}});
  net.add(SoftmaxWithLoss{"loss", {"scores", "label"}});
  const GradientReport report = check_gradients(net, {{"label", numbers({4}, {0, 2, 1, 2})}}, {.step = 1e-5});
  CHECK_MESSAGE(report.passed, report.text);
}

/// What backward reads: "nothing", "bottom" or "top". What reads no bottom runs in place.
inline std::string reads(const LayerParam& layer) {
  const SoloLayer solo(layer, {{2, 3}}, {});
  const LayerSetup& setup = solo.setup();
  CHECK(setup.in_place_bottoms == (setup.reads_bottoms ? 0 : 1));
  CHECK_FALSE((setup.reads_bottoms && setup.reads_tops));
  return setup.reads_bottoms ? "bottom" : setup.reads_tops ? "top" : "nothing";
}

/// What holds for the description of every layer without options.
template <class L>
void check_plain_description() {
  static_assert(LayerSpec<L> && std::is_aggregate_v<L>);
  const LayerParam layer = L{"map", {"x"}};
  CHECK(layer.options_text() == "");
  CHECK(L{"map", {"x"}} == L{"map", {"x"}});
  CHECK(shape_of(layer, {{2, 3, 4}}) == Shape{2, 3, 4});
  const LayerParam test_only = L{"map", {"x"}, Include::Test};
  CHECK(test_only.include() == Include::Test);
  CHECK(test_only != layer);
}

}  // namespace sparknet::test
