#include "sparknet/layers/input.h"

#include <cmath>

#include "layer_test.h"
#include "sparknet/sparknet.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam input(std::vector<Shape> shape, std::vector<std::string> tops = {}) {
  return with(InputLayer{"data", {.shape = std::move(shape)}}, {.top = std::move(tops)});
}

}  // namespace

TEST_CASE("InputLayer: description") {
  check_description<InputLayer>();
  CHECK(InputLayer{"data", {.shape = {{64, 10}}}} == InputLayer{"data", {.shape = {{64, 10}}}});
  CHECK(InputLayer{"data", {.shape = {{64, 10}}}} != InputLayer{"data", {.shape = {{64, 11}}}});
  CHECK(LayerParam(InputLayer{"data", {.shape = {{64, 10}, {64}}}}).options_text() == "{.shape = {{64, 10}, {64}}}");
  CHECK(input({{64, 10}}).inputs().empty());
  CHECK(input({{64, 10}}).make() == nullptr);
}

TEST_CASE("InputLayer: one shape for all tops, or one for each") {
  CHECK(input({{64, 1, 28, 28}}).infer({}) == std::vector<Shape>{{64, 1, 28, 28}});
  CHECK(input({{64, 10}, {64}}, {"features", "label"}).infer({}) == std::vector<Shape>{{64, 10}, {64}});
  CHECK(input({{64}}, {"a", "b", "c"}).infer({}) == std::vector<Shape>{{64}, {64}, {64}});
}

TEST_CASE("InputLayer: set by the program") {
  const NetParam param(
      "net",
      with(InputLayer{"pair", {.shape = {{2, 3}, {2}}}}, {.top = {"features", "label"}}),
      SoftmaxWithLoss{"loss", {"features", "label"}});
  Net net(param, {.dtype = DType::F64, .threads = 1});
  net.set_input("features", numbers({2, 3}, {0, 0, 0, 1, 1, 1}));
  CHECK_THROWS_WITH_AS(net.forward(), doctest::Contains("nothing was given to input \"label\""), NetError);
  net.set_input("label", numbers({2}, {0, 2}));
  CHECK(net.forward() == doctest::Approx(std::log(3.0)));
}

TEST_CASE("InputLayer: messages") {
  CHECK(refusal(input({}), {}) == "option .shape is required");
  CHECK(refusal(input({Shape{}}), {}) == "option .shape has a shape without dimensions");
  CHECK(
      refusal(input({{64, 0}}), {}) ==
      "a shape of option .shape is [64, 0], which has a dimension that is not positive");
  CHECK(
      refusal(InputLayer{"data", {.shape = {64, 1, 28, 28}}}, {}) ==
      "option .shape has 4 shapes and there is 1 top; give one for all or one for each, as {{64, 10}, {64}}");
  CHECK(
      refusal(input({{64}, {64}}, {"a", "b", "c"}), {}) ==
      "option .shape has 2 shapes and there are 3 tops; give one for all or one for each, as {{64, 10}, {64}}");
}
