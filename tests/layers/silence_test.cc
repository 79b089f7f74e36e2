#include "sparknet/layers/silence.h"

#include "move_test.h"
#include "sparknet/layers/slice.h"

using namespace sparknet;
using namespace sparknet::test;

TEST_CASE("SilenceLayer: description") {
  static_assert(LayerSpec<SilenceLayer> && std::is_aggregate_v<SilenceLayer>);
  const LayerParam silence = SilenceLayer{"silence", {"a", "b"}};
  CHECK(silence == SilenceLayer{"silence", {"a", "b"}});
  CHECK(silence != SilenceLayer{"silence", {"a"}});
  CHECK(silence.options_text() == "");
  CHECK(silence.tops().empty());
  CHECK(silence.infer(std::vector<Shape>{{2, 3}, {4}}).empty());
}

TEST_CASE("SilenceLayer: its bottoms have a gradient of 0") {
  check_allocates_nothing(SilenceLayer{"silence", {"a"}}, {{20, 30, 80}});
  for (const DType dtype : {DType::F32, DType::F64}) {
    SoloLayer solo = ran(SilenceLayer{"silence", {"a", "b"}}, {noise({2, 3}), noise({4})}, {}, {.dtype = dtype});
    CHECK(solo.io().tops.empty());
    for (Tensor& diff : solo.io().bottom_diffs) diff.fill(7);
    solo.backward();
    check_equal(solo.io().bottom_diff(0), Tensor({2, 3}, dtype));
    check_equal(solo.io().bottom_diff(1), Tensor({4}, dtype));
  }
  check_gradients_of(SilenceLayer{"silence", {"a", "b"}}, {Shape{2, 3}, Shape{4}});
  check_gradients_of(SilenceLayer{"silence", {"a"}}, {Shape{2, 3, 4}});
}

TEST_CASE("SilenceLayer: in a net") {
  NetParam param = net_around(with(SliceLayer{"slice", {"x"}, {.slice_point = {5}}}, {.top = {"a", "b"}}));
  const auto outputs = [](const NetParam& net) { return Net(net, {.dtype = DType::F64, .threads = 1}).outputs(); };
  CHECK(outputs(param) == std::vector<std::string>{"b", "loss"});
  param.add(SilenceLayer{"silence", {"b"}});
  CHECK(outputs(param) == std::vector<std::string>{"loss"});
  check_gradients_within_net(param);
}

TEST_CASE("SilenceLayer: messages") {
  CHECK(refusal(SilenceLayer{"none", AnyInputs(std::vector<std::string>())}, {}) == "expects one or more inputs");
}
