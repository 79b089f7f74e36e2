#include "sparknet/layers/filter.h"

#include "move_test.h"
#include "sparknet/layers/accuracy.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam filter(
    std::vector<std::string> bottoms, std::vector<std::string> tops = {"kept"}, FilterOptions options = {}) {
  return with(FilterLayer{"filter", AnyInputs(std::move(bottoms)), std::move(options)}, {.top = std::move(tops)});
}
const LayerParam one = FilterLayer{"filter", {"x", "selector"}};
LayerParam two(FilterOptions options = {}) {
  return filter({"x", "label", "selector"}, {"kept", "kept_label", "count"}, std::move(options));
}

using Shapes = std::vector<Shape>;

}  // namespace

TEST_CASE("FilterLayer: description") {
  check_description<FilterLayer>();
  CHECK(one == FilterLayer{"filter", {"x", "selector"}, {.pad = {}}});
  CHECK(one != FilterLayer{"filter", {"x", "selector"}, {.pad = {0}}});
  CHECK(one != FilterLayer{"filter", {"x", "other"}});
  CHECK(one.options_text() == "");
  CHECK(two({.pad = {0, -1}}).options_text() == "{.pad = {0, -1}}");
}

TEST_CASE("FilterLayer: shapes") {
  CHECK(one.infer(Shapes{{3, 4, 5}, {3}}) == Shapes{{3, 4, 5}});
  CHECK(one.infer(Shapes{{3}, {3, 1, 1, 1}}) == Shapes{{3}});
  CHECK(two().infer(Shapes{{3, 4}, {3, 1}, {3}}) == Shapes{{3, 4}, {3, 1}, {1}});
  CHECK(filter({"x", "y", "s"}, {"a", "b"}).infer(Shapes{{3, 4}, {3}, {3}}) == Shapes{{3, 4}, {3}});
  const SoloLayer solo(two(), {{3, 4}, {3}, {3}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{2});
}

TEST_CASE("FilterLayer: hand-made cases") {
  const Tensor labels = numbers({4, 1}, {5, 6, 7, 8}), selector = numbers({4, 1}, {0, 1, 0, -0.5});
  for (const DType dtype : {DType::F32, DType::F64}) {
    SoloLayer solo = ran(two({.pad = {9, -1}}), {counting({4, 2}), labels, selector}, {}, {.dtype = dtype});
    check_equal(solo.io().top(0), numbers({4, 2}, {2, 3, 6, 7, 9, 9, 9, 9}).cast(dtype));
    check_equal(solo.io().top(1), numbers({4, 1}, {6, 8, -1, -1}).cast(dtype));
    check_equal(solo.io().top(2), numbers({1}, {2}).cast(dtype));
    solo.io().top_diff(0).copy_from(numbers({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}).cast(dtype));
    solo.io().top_diff(1).copy_from(numbers({4, 1}, {10, 20, 30, 40}).cast(dtype));
    for (Tensor& diff : solo.io().bottom_diffs)
      if (diff.defined()) diff.fill(7);
    solo.backward();
    check_equal(solo.io().bottom_diff(0), numbers({4, 2}, {0, 0, 1, 2, 0, 0, 3, 4}).cast(dtype));
    check_equal(solo.io().bottom_diff(1), numbers({4, 1}, {0, 10, 0, 20}).cast(dtype));

    solo.io().bottoms[2].fill(0);  // none, and then all
    solo.forward();
    check_equal(solo.io().top(0), numbers({4, 2}, {9, 9, 9, 9, 9, 9, 9, 9}).cast(dtype));
    CHECK(solo.io().top(2).cast(DType::F64).get<double>(0) == 0);
    solo.backward();
    check_equal(solo.io().bottom_diff(0), Tensor({4, 2}, dtype));
    solo.io().bottoms[2].fill(1);
    solo.forward();
    check_equal(solo.io().top(0), counting({4, 2}, dtype));
    CHECK(solo.io().top(2).cast(DType::F64).get<double>(0) == 4);
  }
  check_equal(top_of(one, {counting({3}), numbers({3}, {0, 0, 1})}), numbers({3}, {2, 0, 0}));
}

TEST_CASE("FilterLayer: gradients") {
  check_allocates_nothing(one, {{4, 40000}, {4}});
  check_gradients_of(one, {Shape{4, 2, 3}, numbers({4}, {0, 1, 1, 0})});
  check_gradients_of(one, {Shape{3, 2}, numbers({3}, {0, 0, 0})});
  check_gradients_of(one, {Shape{3, 2}, numbers({3, 1}, {1, 1, 1})});
  check_gradients_of(two({.pad = {2, 3}}), {Shape{4, 3}, Shape{4}, numbers({4}, {1, 0, 0, 1})});
}

TEST_CASE("FilterLayer: with an ignore_label as its pad a loss is that of the kept items alone, as Caffe's") {
  const auto scores = [](Dim items) { return RDDLayer{"scores", {items, 3}}; };
  const auto labels = [](Dim items) { return RDDLayer{"label", {items}}; };
  NetParam filtered("filtered", scores(4), labels(4), RDDLayer{"selector", {4}});
  filtered.add(filter({"scores", "label", "selector"}, {"kept", "kept_label"}, {.pad = {0, -1}}))
      .add(SoftmaxWithLoss{"loss", {"kept", "kept_label"}, {.ignore_label = -1, .normalization = Normalization::Valid}})
      .add(AccuracyLayer{"accuracy", {"kept", "kept_label"}, {.ignore_label = -1}});
  NetParam shrunk("shrunk", scores(2), labels(2));
  shrunk.add(SoftmaxWithLoss{"loss", {"scores", "label"}}).add(AccuracyLayer{"accuracy", {"scores", "label"}});
  filtered.force_backward = shrunk.force_backward = true;

  const NetOptions options{.dtype = DType::F64, .threads = 1, .keep = {"scores", "accuracy"}};
  Net full(filtered, options), small(shrunk, options);
  full.set_input("scores", numbers({4, 3}, {9, 8, 7, 0.5, 2, 1, 6, 5, 4, 3, 1, 2}));
  full.set_input("label", numbers({4}, {0, 1, 2, 2}));
  full.set_input("selector", numbers({4}, {0, 1, 0, 1}));
  small.set_input("scores", numbers({2, 3}, {0.5, 2, 1, 3, 1, 2}));
  small.set_input("label", numbers({2}, {1, 2}));
  CHECK(full.forward() == doctest::Approx(small.forward()).epsilon(1e-12));
  CHECK(full.blob("accuracy").get<double>(0) == 0.5);
  CHECK(small.blob("accuracy").get<double>(0) == 0.5);
  full.backward();
  small.backward();
  const auto all = full.blob_diff("scores").span<double>(), kept = small.blob_diff("scores").span<double>();
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(all[i] == 0);
    CHECK(all[3 + i] == doctest::Approx(kept[i]).epsilon(1e-12));
    CHECK(all[6 + i] == 0);
    CHECK(all[9 + i] == doctest::Approx(kept[3 + i]).epsilon(1e-12));
  }
}

TEST_CASE("FilterLayer: messages") {
  CHECK(refusal(filter({"x"}), {{3}}) == "expects one or more inputs and, behind them, the selector, not 1 in all");
  CHECK(refusal(one, {{3, 2}, {3, 2}}) == "input 1 is the selector, a number for each item, [N] or [N, 1], not [3, 2]");
  CHECK(refusal(one, {{3, 2}, {}}) == "input 1 is the selector, a number for each item, [N] or [N, 1], not []");
  CHECK(refusal(one, {{4, 2}, {3}}) == "input 0 is [4, 2], and the selector, input 1, is of 3 items");
  CHECK(
      refusal(two({.pad = {1}}), {{3, 2}, {3}, {3}}) ==
      "option .pad has 1 numbers, and there are 2 inputs beside the selector");
  CHECK(
      refusal(filter({"x", "y", "s"}), {{3, 2}, {3}, {3}}) ==
      "has 2 inputs beside the selector, so it has 2 tops, or 3 with the number of kept items, and the tops are 1; "
      "`with` names them");
}
