#include "sparknet/layers/spp.h"

#include "layer_test.h"
#include "sparknet/layers/absval.h"
#include "sparknet/random.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam spp(SPPOptions options) {
  return SPPLayer{"pyramid", {"x"}, options};
}

}  // namespace

TEST_CASE("SPPLayer: description") {
  check_description<SPPLayer>();
  CHECK(spp({.pyramid_height = 3}) != spp({.pyramid_height = 2}));
  CHECK(
      spp({.pyramid_height = 3, .pooling = Pooling::Ave}).options_text() ==
      "{.pyramid_height = 3, .pooling = Pooling::Ave}");
}

TEST_CASE("SPPLayer: shapes") {
  CHECK(shape_of(spp({.pyramid_height = 1}), {{2, 3, 9, 8}}) == Shape{2, 3, 1, 1});
  CHECK(shape_of(spp({.pyramid_height = 2}), {{2, 3, 9, 8}}) == Shape{2, 15});
  CHECK(shape_of(spp({.pyramid_height = 3}), {{2, 3, 9, 8}}) == Shape{2, 63});
}

TEST_CASE("SPPLayer: hand-made cases") {
  // The levels follow one another in each image, the channels in each level.
  const Tensor x = numbers({2, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 4, 3, 2, 1, 0, -1, -2, -3});
  check_equal(top_of(spp({.pyramid_height = 2}), {x}), numbers({2, 10}, {4, 8, 1, 2, 3, 4, 5, 6,  7,  8,
                                                                         4, 0, 4, 3, 2, 1, 0, -1, -2, -3}));
  check_equal(
      top_of(spp({.pyramid_height = 2, .pooling = Pooling::Ave}), {x}, {}, {.dtype = DType::F32}),
      numbers({2, 10}, {2.5, 6.5, 1, 2, 3, 4, 5, 6, 7, 8, 2.5, -1.5, 4, 3, 2, 1, 0, -1, -2, -3}).cast(DType::F32));
  check_equal(
      top_of(
          spp({.pyramid_height = 2, .pooling = Pooling::Stochastic}),
          {numbers({1, 1, 2, 2}, {1, 2, 3, 4})},
          {},
          {.phase = Phase::Test}),
      numbers({1, 5}, {3, 1, 2, 3, 4}));
  // Rows 0 to 1 and 2; columns likewise: the padding lies before the image.
  check_equal(
      top_of(spp({.pyramid_height = 2}), {numbers({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9})}),
      numbers({1, 5}, {9, 1, 3, 7, 9}));
}

TEST_CASE("SPPLayer: every level is a PoolingLayer of the same windows") {
  const Tensor x = noise({2, 3, 9, 7});
  for (const Pooling method : {Pooling::Max, Pooling::Ave})
    for (const Phase phase : {Phase::Train, Phase::Test}) {
      const Tensor y = top_of(spp({.pyramid_height = 3, .pooling = method}), {x}, {}, {.phase = phase, .threads = 2});
      const auto level = [&](Size2 kernel, Size2 pad) {
        return top_of(
            PoolingLayer{"pool", {"x"}, {.pooling = method, .kernel = kernel, .stride = kernel, .pad = pad}},
            {x});
      };
      const std::vector<Tensor> levels = {level({9, 7}, 0), level({5, 4}, {1, 1}), level({3, 2}, {2, 1})};
      const auto all = y.span<double>();
      std::size_t at = 0;
      for (std::size_t n = 0; n < 2; ++n)
        for (const Tensor& pooled : levels) {
          const auto values = pooled.span<double>();
          const std::size_t each = values.size() / 2;
          for (std::size_t i = 0; i < each; ++i) CHECK(all[at++] == values[n * each + i]);
        }
    }
}

TEST_CASE("SPPLayer: stochastic levels draw from one stream") {
  const Tensor x = top_of(AbsValLayer{"abs", {"x"}}, {noise({2, 8, 4, 4})});
  SoloLayer solo = ran(spp({.pyramid_height = 2, .pooling = Pooling::Stochastic}), {x});
  const auto in = x.view<double>();
  const auto top = solo.io().top().span<double>();
  const auto drawn = [&](std::uint64_t word, Dim n, Dim c, Dim row, Dim column, Dim side) {
    double sum = 0, so_far = 0;
    for (Dim i = 0; i < side * side; ++i) sum += in(n, c, row + i / side, column + i % side);
    const std::uint32_t bits = philox(solo.io().seed(), solo.io().sequence(), word / 4)[word % 4];
    for (Dim i = 0;; ++i) {
      const double value = in(n, c, row + i / side, column + i % side);
      if ((so_far += value) >= (static_cast<double>(bits) + 1) / 4294967296.0 * sum) return value;
    }
  };
  std::uint64_t word = 16;
  for (Dim n = 0; n < 2; ++n)
    for (Dim c = 0; c < 8; ++c) {
      CHECK(top[static_cast<std::size_t>(40 * n + c)] == drawn(static_cast<std::uint64_t>(8 * n + c), n, c, 0, 0, 4));
      for (Dim i = 0; i < 4; ++i)
        CHECK(top[static_cast<std::size_t>(40 * n + 8 + 4 * c + i)] == drawn(word++, n, c, i / 2 * 2, i % 2 * 2, 2));
    }
}

TEST_CASE("SPPLayer: gradients") {
  for (const Pooling method : {Pooling::Max, Pooling::Ave})
    for (const Dim height : {1, 2, 3})
      check_gradients_of(spp({.pyramid_height = height, .pooling = method}), {Shape{2, 2, 9, 7}});
  check_gradients_of(
      spp({.pyramid_height = 3, .pooling = Pooling::Stochastic}),
      {Shape{2, 2, 8, 4}},
      {.values = Filler::uniform(0.5, 2)});
}

TEST_CASE("SPPLayer: messages") {
  CHECK(refusal(spp({}), {{2, 3, 4, 5}}) == "option .pyramid_height is required");
  CHECK(refusal(spp({.pyramid_height = -1}), {{2, 3, 4, 5}}) == "option .pyramid_height must be positive, not -1");
  CHECK(
      refusal(spp({.pyramid_height = 2}), {{2, 3}}) == "expects an image [N, C, H, W], which has 4 dimensions, not 2");
  CHECK(
      refusal(spp({.pyramid_height = 3}), {{2, 3, 9, 5}}) ==
      "pyramid_height 3 is too much for a 9x5 input: level 2 would have 4x4 windows of 3x2 with pad 2x2");
  CHECK(
      refusal(spp({.pyramid_height = 40}), {{2, 3, 9, 9}}) ==
      "pyramid_height 40 is too much for a 9x9 input: level 3 would have 8x8 windows of 2x2 with pad 4x4");
  CHECK(
      refusal(spp({.pyramid_height = 2, .pooling = Pooling::Stochastic}), {{2, 3, 4, 5}}) ==
      "stochastic pooling takes no padding, and level 1 would need pad 0x1");
}
