#include "sparknet/layers/threshold.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam threshold(double value = 0) {
  return ThresholdLayer{"threshold", {"x"}, {.threshold = value}};
}

}  // namespace

TEST_CASE("ThresholdLayer: description") {
  check_description<ThresholdLayer>();
  CHECK(ThresholdLayer{"threshold", {"x"}} == ThresholdLayer{"threshold", {"x"}, {.threshold = 0}});
  CHECK(threshold() != threshold(0.5));
  CHECK(threshold().options_text() == "");
  CHECK(threshold(0.5).options_text() == "{.threshold = 0.5}");
  CHECK(shape_of(threshold(), {{2, 3, 4}}) == Shape{2, 3, 4});
  CHECK(reads(threshold()) == "nothing");
  CHECK(refusal(threshold(kNan), {{2}}) == "option .threshold must be finite, not nan");
}

TEST_CASE("ThresholdLayer: values") {
  check_equal(top_of(threshold(), {numbers({4}, {-1, 0, 1e-300, kInf})}), numbers({4}, {0, 0, 1, 1}));
  for (const double value : {0.0, 2.75, -1.0})
    check_map(threshold(value), wide_range(), [=](long double x) { return x > value; }, {});
}

TEST_CASE("ThresholdLayer: nothing learns through it") {
  const auto net_that = [](bool learns_before) {
    NetParam net("net", RDDLayer{"x", {4, 6}}, RDDLayer{"label", {4}});
    if (learns_before) {
      net.add(InnerProductLayer{"ip", {"x"}, {.num_output = 5}}).add(ThresholdLayer{"threshold", {"ip"}});
    } else {
      net.add(threshold());
    }
    net.add(InnerProductLayer{"scores", {"threshold"}, {.num_output = 3}});
    return net.add(SoftmaxWithLoss{"loss", {"scores", "label"}});
  };
  const GradientReport report = check_gradients(net_that(false), {{"label", numbers({4}, {0, 2, 1, 2})}});
  CHECK_MESSAGE(report.passed, report.text);
  CHECK_THROWS_WITH_AS(
      check_gradients(net_that(true), {{"label", numbers({4}, {0, 2, 1, 2})}}),
      doctest::Contains(
          "layer \"threshold\" (ThresholdLayer): has no gradient, and a layer before it is to learn from"),
      NetError);
}
