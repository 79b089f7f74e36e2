#include "sparknet/layers/parameter.h"

#include "layer_test.h"
#include "sparknet/net.h"
#include "sparknet/sparknet.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam parameter(const ParameterOptions& options) {
  return ParameterLayer{"anchors", options};
}

}  // namespace

TEST_CASE("ParameterLayer: description") {
  check_description<ParameterLayer>();
  CHECK(parameter({.shape = {2, 3}}) == parameter({.shape = {2, 3}, .filler = Filler::constant(0)}));
  CHECK(parameter({.shape = {2, 3}}) != parameter({.shape = {3, 2}}));
  CHECK(parameter({.shape = {2, 3}}).options_text() == "{.shape = {2, 3}}");
  CHECK(
      parameter({.shape = {4}, .filler = Filler::gaussian(0, 1), .lr_mult = 2, .decay_mult = 0}).options_text() ==
      "{.shape = {4}, .filler = Filler::gaussian(0, 1), .lr_mult = 2, .decay_mult = 0}");
  CHECK(parameter({.shape = {2, 3}}).inputs().empty());
  CHECK(shape_of(parameter({.shape = {2, 3}}), {}) == Shape{2, 3});
}

TEST_CASE("ParameterLayer: what is declared") {
  const SoloLayer solo(parameter({.shape = {2, 3}, .lr_mult = 3, .decay_mult = 0.5}), {}, {});
  REQUIRE(solo.setup().params.size() == 1);
  CHECK(solo.setup().params[0].name == "weights");
  CHECK(solo.setup().params[0].shape == Shape{2, 3});
  CHECK(solo.setup().params[0].filler == Filler::constant(0));
  CHECK(solo.setup().params[0].lr_mult == 3);
  CHECK(solo.setup().params[0].decay_mult == 0.5);
}

TEST_CASE("ParameterLayer: the top is the parameter, and its gradient the top's") {
  for (const DType dtype : {DType::F32, DType::F64}) {
    const Tensor value = numbers({2, 2}, {1, 2, 3, 4}), dy = numbers({2, 2}, {5, 6, 7, 8});
    SoloLayer solo = ran(parameter({.shape = {2, 2}}), {}, {value}, {.dtype = dtype});
    CHECK(solo.io().top() == value.cast(dtype));
    solo.io().top_diff().copy_from(dy.cast(dtype));
    solo.backward();
    CHECK(solo.io().param_diff(0) == dy.cast(dtype));
    solo.io().accumulates = true;
    solo.backward();
    CHECK(solo.io().param_diff(0) == (dy * 2).cast(dtype));
  }
}

TEST_CASE("ParameterLayer: gradients") {
  check_gradients_of(parameter({.shape = {2, 3, 4}}), {});
  check_gradients_of(parameter({.shape = {5}, .lr_mult = 0}), {});
}

TEST_CASE("ParameterLayer: learns in a net") {
  const NetParam net(
      "net",
      ParameterLayer{"scores", {.shape = {4, 3}, .filler = Filler::gaussian(0, 1)}},
      RDDLayer{"label", {4}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
  const GradientReport report = check_gradients(net, {{"label", numbers({4}, {0, 2, 1, 2})}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("ParameterLayer: messages") {
  CHECK(refusal(parameter({}), {}) == "option .shape is required");
  CHECK(
      refusal(parameter({.shape = {2, 0}}), {}) ==
      "option .shape is [2, 0], which has a dimension that is not positive");
}
