#include "sparknet/layers/rdd.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

static_assert(LayerSpec<RDDLayer>);
static_assert(std::is_aggregate_v<RDDLayer>);

TEST_CASE("RDDLayer: its shape is the blob's, and it is filled from outside") {
  const LayerParam data = RDDLayer{"data", {64, 1, 28, 28}};
  CHECK(shape_of(data, {}) == Shape{64, 1, 28, 28});
  CHECK(data.inputs().empty());
  CHECK(data.tops() == std::vector<std::string>{"data"});
  CHECK(data.make() == nullptr);
}

TEST_CASE("RDDLayer: equality and phase") {
  CHECK(RDDLayer{"data", {64, 1}} == RDDLayer{"data", {64, 1}});
  CHECK(RDDLayer{"data", {64, 1}} != RDDLayer{"data", {64, 2}});
  CHECK(RDDLayer{"data", {64, 1}} != RDDLayer{"data", {64, 1}, Include::Test});
  CHECK_FALSE(LayerParam(RDDLayer{"data", {64, 1}, Include::Test}).in(Phase::Train));
}

TEST_CASE("RDDLayer: messages") {
  CHECK(refusal(RDDLayer{"data", {}}, {}) == "shape is required");
  CHECK(refusal(RDDLayer{"data", {64, 0, 28}}, {}) == "shape [64, 0, 28] has a dimension that is not positive");
  CHECK(refusal(RDDLayer{"data", {-1}}, {}) == "shape [-1] has a dimension that is not positive");
}
