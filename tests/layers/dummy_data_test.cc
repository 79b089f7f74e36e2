#include "sparknet/layers/dummy_data.h"

#include <cmath>

#include "layer_test.h"
#include "sparknet/sparknet.h"
#include "tests/count_allocations.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam dummy(DummyDataOptions options, std::vector<std::string> tops = {}) {
  return with(DummyDataLayer{"noise", std::move(options)}, {.top = std::move(tops)});
}

const Filler gaussian = Filler::gaussian(0, 1);

}  // namespace

TEST_CASE("DummyDataLayer: description") {
  check_description<DummyDataLayer>();
  CHECK(DummyDataLayer{"noise", {.shape = {{2}}}} == DummyDataLayer{"noise", {.data_filler = {}, .shape = {{2}}}});
  CHECK(DummyDataLayer{"noise", {.shape = {{2}}}} != DummyDataLayer{"noise", {.shape = {{3}}}});
  CHECK(
      dummy({.data_filler = {gaussian, Filler::constant(1)}, .shape = {{2, 3}, {2}}}).options_text() ==
      "{.data_filler = {Filler::gaussian(0, 1), Filler::constant(1)}, .shape = {{2, 3}, {2}}}");
  CHECK(dummy({.shape = {{2}}}).inputs().empty());
}

TEST_CASE("DummyDataLayer: shapes") {
  CHECK(dummy({.shape = {{2, 3}}}).infer({}) == std::vector<Shape>{{2, 3}});
  CHECK(dummy({.shape = {{2, 3}}}, {"a", "b"}).infer({}) == std::vector<Shape>{{2, 3}, {2, 3}});
  CHECK(dummy({.shape = {{2, 3}, {2}}}, {"a", "b"}).infer({}) == std::vector<Shape>{{2, 3}, {2}});
}

TEST_CASE("DummyDataLayer: fillers, one for all tops or one for each") {
  const std::vector<std::string> ab{"a", "b"};
  for (const DType dtype : {DType::F32, DType::F64}) {
    SoloLayer zero = ran(dummy({.shape = {{2, 3}}}, ab), {}, {}, {.dtype = dtype});
    CHECK(zero.io().top(0) == Tensor({2, 3}, dtype));
    CHECK(zero.io().top(1) == Tensor({2, 3}, dtype));
    SoloLayer two =
        ran(dummy({.data_filler = {Filler::uniform(3, 4), Filler::constant(7)}, .shape = {{2, 3}, {4}}}, ab),
            {},
            {},
            {.dtype = dtype});
    const Tensor uniform = two.io().top(0).cast(DType::F64);
    for (const double v : uniform.span<double>()) CHECK((v >= 3 && v <= 4));
    CHECK(two.io().top(1) == numbers({4}, {7, 7, 7, 7}).cast(dtype));
    SoloLayer same = ran(dummy({.data_filler = {gaussian}, .shape = {{50}}}, ab), {}, {}, {.dtype = dtype});
    CHECK(same.io().top(0) != same.io().top(1));
  }
}

TEST_CASE("DummyDataLayer: filled anew in each pass, by the seed and the pass") {
  const NetParam param(
      "net",
      DummyDataLayer{"noise", {.data_filler = {gaussian}, .shape = {{100}}}},
      DummyDataLayer{"other", {.data_filler = {gaussian}, .shape = {{100}}}},
      DummyDataLayer{"one", {.data_filler = {Filler::constant(1)}, .shape = {{100}}}},
      EltwiseLayer{"sum", {"noise", "other", "one"}});
  const auto passes = [&](Phase phase, std::uint64_t seed) {
    Net net(param, {.phase = phase, .threads = 1, .seed = seed, .keep = {"noise", "other", "one"}});
    std::vector<Tensor> seen;
    for (int i = 0; i < 3; ++i) {
      net.forward();
      seen.push_back(net.blob("noise").copy());
      CHECK(net.blob("one") == Tensor({100}).fill(1));
      CHECK(net.blob("noise") != net.blob("other"));
    }
    CHECK(seen[0] != seen[1]);
    CHECK(seen[1] != seen[2]);
    return seen;
  };
  for (const Phase phase : {Phase::Train, Phase::Test}) {
    CHECK(passes(phase, 1) == passes(phase, 1));
    CHECK(passes(phase, 1) != passes(phase, 2));
  }
  Net net(param, {.threads = 1, .keep = {"noise"}});
  net.forward();
  const Tensor first = net.blob("noise").copy();
  net.forward();
  net.set_passes(0);
  net.forward();
  CHECK(net.blob("noise") == first);
}

TEST_CASE("DummyDataLayer: passes allocate nothing") {
  const std::vector<Filler> fillers{
      Filler::uniform(0, 1),
      Filler::constant(1),
      Filler::gaussian(0, 1, 2),
      Filler::xavier(),
      Filler::msra(),
      Filler::positive_unitball(),
      Filler::bilinear()};
  SoloLayer solo =
      ran(dummy({.data_filler = fillers, .shape = {{3, 2, 4, 4}}}, {"a", "b", "c", "d", "e", "f", "g"}), {});
  const std::size_t before = allocations();
  solo.forward();
  CHECK(allocations() == before);
}

TEST_CASE("DummyDataLayer: messages") {
  CHECK(refusal(dummy({}), {}) == "option .shape is required");
  CHECK(
      refusal(dummy({.data_filler = {gaussian, gaussian}, .shape = {{2}}}), {}) ==
      "option .data_filler has 2 fillers and there is 1 top; give none, one for all or one for each");
  CHECK(
      refusal(dummy({.data_filler = {gaussian, gaussian}, .shape = {{2}}}, {"a", "b", "c"}), {}) ==
      "option .data_filler has 2 fillers and there are 3 tops; give none, one for all or one for each");
  CHECK(
      refusal(dummy({.shape = {{2}, {3}, {4}}}, {"a", "b"}), {}) ==
      "option .shape has 3 shapes and there are 2 tops; give one for all or one for each, as {{64, 10}, {64}}");
  CHECK_THROWS_WITH_AS(
      Net(NetParam("net", dummy({.data_filler = {Filler::bilinear()}, .shape = {{2, 3}}})), {.threads = 1}),
      doctest::Contains("Filler::bilinear() does not fit [2, 3]"),
      NetError);
}
