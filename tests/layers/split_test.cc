#include "sparknet/layers/split.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam split(std::vector<std::string> tops) {
  return with(SplitLayer{"split", {"x"}}, {.top = std::move(tops)});
}

using Shapes = std::vector<Shape>;

}  // namespace

TEST_CASE("SplitLayer: description and shapes") {
  static_assert(LayerSpec<SplitLayer> && std::is_aggregate_v<SplitLayer>);
  CHECK(SplitLayer{"split", {"x"}} == SplitLayer{"split", {"x"}});
  CHECK(split({"a", "b"}) != split({"a", "c"}));
  CHECK(split({"a"}).options_text() == "");
  CHECK(split({"a", "b", "c"}).infer(Shapes{{2, 3}}) == Shapes{{2, 3}, {2, 3}, {2, 3}});
  CHECK(LayerParam(SplitLayer{"split", {"x"}}).infer(Shapes{{2, 3}}) == Shapes{{2, 3}});
}

TEST_CASE("SplitLayer: hand-made cases") {
  for (const DType dtype : {DType::F32, DType::F64})
    for (const bool in_place : {false, true}) {
      SoloLayer solo = ran(split({"a", "b", "c"}), {counting({2, 2})}, {}, {.dtype = dtype, .in_place = in_place});
      for (std::size_t i = 0; i < 3; ++i) check_equal(solo.io().top(i), counting({2, 2}, dtype));
      solo.io().top_diff(0).copy_from(numbers({2, 2}, {1, 2, 3, 4}).cast(dtype));
      solo.io().top_diff(1).copy_from(numbers({2, 2}, {10, 20, 30, 40}).cast(dtype));
      solo.io().top_diff(2).copy_from(numbers({2, 2}, {0, -1, 0, 0.5}).cast(dtype));
      solo.backward();
      check_equal(solo.io().bottom_diff(), numbers({2, 2}, {11, 21, 33, 44.5}).cast(dtype));
    }
}

TEST_CASE("SplitLayer: gradients") {
  check_allocates_nothing(split({"a", "b"}), {{20, 30, 80}});
  check_gradients_within_net(net_around_two_tops(split({"a", "b"})));
  check_gradients_of(split({"a"}), {Shape{2, 3}});
  check_gradients_of(split({"a", "b"}), {Shape{2, 3, 4}});
  check_gradients_of(split({"a", "b", "c"}), {Shape{5}});
  check_gradients_within_net(net_around(split({"a"})));
  CHECK(runs_in_place(split({"a"}), {{2, 3}}));
  CHECK(net_runs_in_place(net_around(split({"a"}))));
}
