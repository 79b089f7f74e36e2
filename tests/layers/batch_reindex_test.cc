#include "sparknet/layers/batch_reindex.h"

#include "move_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

const LayerParam reindex = BatchReindexLayer{"chosen", {"x", "indices"}};

}  // namespace

TEST_CASE("BatchReindexLayer: description and shapes") {
  static_assert(LayerSpec<BatchReindexLayer> && std::is_aggregate_v<BatchReindexLayer>);
  CHECK(reindex == BatchReindexLayer{"chosen", {"x", "indices"}});
  CHECK(reindex != BatchReindexLayer{"chosen", {"x", "others"}});
  CHECK(reindex.options_text() == "");
  CHECK(shape_of(reindex, {{3, 4, 5}, {7}}) == Shape{7, 4, 5});
  CHECK(shape_of(reindex, {{3}, {1}}) == Shape{1});
  const SoloLayer solo(reindex, {{3, 4}, {7}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{1});
}

TEST_CASE("BatchReindexLayer: hand-made cases") {
  const Tensor indices = numbers({4}, {2, 0, 2, 2});  // 1 is left out
  for (const DType dtype : {DType::F32, DType::F64}) {
    SoloLayer solo = ran(reindex, {counting({3, 2}), indices}, {}, {.dtype = dtype});
    check_equal(solo.io().top(), numbers({4, 2}, {4, 5, 0, 1, 4, 5, 4, 5}).cast(dtype));
    solo.io().top_diff().copy_from(numbers({4, 2}, {1, 2, 30, 40, 5, 6, 0.5, 0.25}).cast(dtype));
    solo.io().bottom_diff().fill(7);
    solo.backward();
    check_equal(solo.io().bottom_diff(), numbers({3, 2}, {30, 40, 0, 0, 6.5, 8.25}).cast(dtype));
  }
  check_equal(top_of(reindex, {counting({3}), numbers({2}, {1, 1})}), numbers({2}, {1, 1}));
}

TEST_CASE("BatchReindexLayer: gradients") {
  check_allocates_nothing(reindex, {{3, 40000}, {4}});
  check_gradients_of(reindex, {Shape{3, 2, 4}, numbers({5}, {2, 0, 2, 1, 2})});
  check_gradients_of(reindex, {Shape{3, 2}, numbers({1}, {1})});
  check_gradients_of(reindex, {Shape{4}, numbers({3}, {3, 0, 3})});
}

TEST_CASE("BatchReindexLayer: messages") {
  CHECK(refusal(reindex, {{}, {2}}) == "input 0 has no axis of examples");
  CHECK(refusal(reindex, {{3, 2}, {2, 1}}) == "input 1 holds an index for each example of the top, [M], not [2, 1]");
  const auto refuses = [](double index, const std::string& why) {
    try {
      top_of(reindex, {counting({3, 2}), numbers({2}, {0, index})});
    } catch (const NetError& error) {
      CHECK_MESSAGE(std::string(error.what()).find(why) != std::string::npos, error.what());
      return;
    }
    FAIL("took the index ", index);
  };
  refuses(3, "index 1 is 3 and there are 3 examples");
  refuses(-1, "index 1 is -1 and there are 3 examples");
  refuses(0.5, "index 1 is 0.5 and there are 3 examples");
  refuses(std::numeric_limits<double>::quiet_NaN(), "index 1 is nan and there are 3 examples");
}
