#include "sparknet/layers/pooling.h"

#include <array>

#include "layer_test.h"
#include "sparknet/random.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam pooling(PoolingOptions options) {
  return PoolingLayer{"pool", {"x"}, std::move(options)};
}

struct Window {
  Size2 kernel, stride, pad;
};

const Tensor nine = numbers({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});

}  // namespace

TEST_CASE("PoolingLayer: description") {
  check_description<PoolingLayer>();
  CHECK(pooling({.kernel = 2}) == pooling({.kernel = {2, 2}}));
  CHECK(pooling({.kernel = 2}) != pooling({.pooling = Pooling::Ave, .kernel = 2}));
  CHECK(
      pooling({.pooling = Pooling::Max, .kernel = {2, 2}, .stride = {2, 2}}).options_text() ==
      "{.kernel = 2, .stride = 2}");
  CHECK(
      pooling({.pooling = Pooling::Ave, .kernel = 3, .pad = 1, .round_mode = RoundMode::Floor}).options_text() ==
      "{.pooling = Pooling::Ave, .kernel = 3, .pad = 1, .round_mode = RoundMode::Floor}");
  CHECK(pooling({.global = true}).options_text() == "{.global = true}");
  CHECK(to_text(Pooling::Max) == "Pooling::Max");
  CHECK(to_text(Pooling::Ave) == "Pooling::Ave");
  CHECK(to_text(Pooling::Stochastic) == "Pooling::Stochastic");
  CHECK(to_text(RoundMode::Ceil) == "RoundMode::Ceil");
}

TEST_CASE("PoolingLayer: shapes round up unless told otherwise") {
  CHECK(shape_of(pooling({.kernel = 2, .stride = 2}), {{64, 20, 24, 24}}) == Shape{64, 20, 12, 12});
  CHECK(shape_of(pooling({.kernel = 3, .stride = 2}), {{1, 1, 32, 31}}) == Shape{1, 1, 16, 15});
  CHECK(
      shape_of(pooling({.kernel = 3, .stride = 2, .round_mode = RoundMode::Floor}), {{1, 1, 32, 31}}) ==
      Shape{1, 1, 15, 15});
  CHECK(shape_of(pooling({.kernel = {2, 3}}), {{1, 1, 4, 5}}) == Shape{1, 1, 3, 3});
  CHECK(shape_of(pooling({.global = true}), {{2, 3, 4, 5}}) == Shape{2, 3, 1, 1});
}

TEST_CASE("PoolingLayer: the last window starts inside the image and its first padding") {
  // Rounded up there would be 3 windows, and the third would start at 4, in the padding behind the image.
  CHECK(shape_of(pooling({.kernel = 2, .stride = 2, .pad = 1}), {{1, 1, 3, 3}}) == Shape{1, 1, 2, 2});
  CHECK(shape_of(pooling({.kernel = 3, .stride = 2, .pad = 1}), {{1, 1, 4, 4}}) == Shape{1, 1, 3, 3});
  CHECK(shape_of(pooling({.kernel = 1, .stride = 3}), {{1, 1, 5, 4}}) == Shape{1, 1, 2, 2});
}

TEST_CASE("PoolingLayer: hand-made maxima") {
  check_equal(top_of(pooling({.kernel = 2}), {nine}), numbers({1, 1, 2, 2}, {5, 6, 8, 9}));
  check_equal(top_of(pooling({.kernel = 2, .stride = 2}), {nine}), numbers({1, 1, 2, 2}, {5, 6, 8, 9}));
  check_equal(
      top_of(pooling({.kernel = 2, .stride = 2, .round_mode = RoundMode::Floor}), {nine}),
      numbers({1, 1, 1, 1}, {5}));
  check_equal(top_of(pooling({.kernel = {1, 3}}), {nine}), numbers({1, 1, 3, 1}, {3, 6, 9}));
  check_equal(top_of(pooling({.global = true}), {nine}), numbers({1, 1, 1, 1}, {9}));
  // Padding is no zero that could win.
  check_equal(
      top_of(pooling({.kernel = 2, .stride = 2, .pad = 1}), {numbers({1, 1, 2, 2}, {-1, -2, -3, -4})}),
      numbers({1, 1, 2, 2}, {-1, -2, -3, -4}));
}

TEST_CASE("PoolingLayer: hand-made means") {
  const auto mean = [](PoolingOptions options) {
    options.pooling = Pooling::Ave;
    return pooling(options);
  };
  check_equal(top_of(mean({.kernel = 2}), {nine}), numbers({1, 1, 2, 2}, {3, 4, 6, 7}));
  // Windows that hang over the image are cut off, and the mean is over what is left.
  check_equal(top_of(mean({.kernel = 2, .stride = 2}), {nine}), numbers({1, 1, 2, 2}, {3, 4.5, 7.5, 9}));
  check_equal(top_of(mean({.global = true}), {nine}), numbers({1, 1, 1, 1}, {5}));
  // Padding counts as zeros.
  check_equal(
      top_of(mean({.kernel = 3, .stride = 2, .pad = 1}), {nine}),
      numbers({1, 1, 2, 2}, {12.0 / 9, 16.0 / 9, 24.0 / 9, 28.0 / 9}));
}

TEST_CASE("PoolingLayer: the gradient of equal maxima goes to the first") {
  SoloLayer solo = ran(pooling({.kernel = 2}), {numbers({1, 1, 2, 2}, {1, 3, 3, 3})});
  solo.io().top_diff().fill(2);
  solo.backward();
  check_equal(solo.io().bottom_diff(), numbers({1, 1, 2, 2}, {0, 2, 0, 0}));
}

TEST_CASE("PoolingLayer: the test phase computes the same") {
  const Tensor x = noise({2, 3, 7, 6});
  for (const Pooling method : {Pooling::Max, Pooling::Ave}) {
    const LayerParam layer = pooling({.pooling = method, .kernel = 3, .stride = 2, .pad = 1});
    check_equal(top_of(layer, {x}, {}, {.phase = Phase::Test}), top_of(layer, {x}));
  }
}

TEST_CASE("PoolingLayer: where the maxima lie") {
  const Tensor x = numbers({1, 2, 2, 3}, {1, 7, 3, 4, 5, 6, 9, 2, 8, 1, 0, 9});
  const auto places = [&](const PoolingOptions& options, const SoloOptions& solo = {}) {
    return ran(with(pooling(options), {.top = {"y", "places"}}), {x}, {}, solo).io().top(1);
  };
  for (const Phase phase : {Phase::Train, Phase::Test}) {
    check_equal(places({.kernel = 2}, {.phase = phase}), numbers({1, 2, 1, 2}, {1, 1, 0, 5}));
    check_equal(
        places({.kernel = 2, .stride = 2}, {.dtype = DType::F32, .phase = phase}),
        numbers({1, 2, 1, 2}, {1, 5, 0, 5}).cast(DType::F32));
    check_equal(
        places({.kernel = 2, .stride = 2, .pad = 1}, {.phase = phase}),
        numbers({1, 2, 2, 2}, {0, 1, 3, 5, 0, 2, 3, 5}));
    check_equal(places({.global = true}, {.phase = phase}), numbers({1, 2, 1, 1}, {1, 0}));
  }
  // The kernel for windows of 2x2 side by side keeps its winners in a form of its own.
  check_equal(
      ran(with(pooling({.kernel = 2, .stride = 2}), {.top = {"y", "places"}}),
          {numbers({1, 1, 2, 4}, {1, 2, 3, 8, 5, 4, 7, 6})})
          .io()
          .top(1),
      numbers({1, 1, 1, 2}, {4, 3}));
  check_gradients_of(with(pooling({.kernel = 3, .stride = 2}), {.top = {"y", "places"}}), {Shape{2, 2, 6, 5}});
}

TEST_CASE("PoolingLayer: stochastic in the test phase is the mean weighted by itself") {
  const auto tested = [](const PoolingOptions& options, const Tensor& x) {
    return top_of(pooling(options), {x}, {}, {.phase = Phase::Test});
  };
  check_equal(
      tested({.pooling = Pooling::Stochastic, .kernel = 2, .stride = 2}, nine),
      numbers({1, 1, 2, 2}, {46.0 / 12, 45.0 / 9, 113.0 / 15, 9}));
  check_equal(tested({.pooling = Pooling::Stochastic, .global = true}, nine), numbers({1, 1, 1, 1}, {285.0 / 45}));
  check_equal(
      tested({.pooling = Pooling::Stochastic, .kernel = 2}, numbers({1, 1, 2, 2}, {0, 0, 0, 0})),
      numbers({1, 1, 1, 1}, {0}));
}

TEST_CASE("PoolingLayer: stochastic draws in proportion to the values, and gradients go where it drew") {
  // 4096 windows of 1, 3, 0, 4.
  Tensor x({16, 1, 32, 32}, DType::F64);
  auto in = x.view<double>();
  for (Dim n = 0; n < 16; ++n)
    for (Dim h = 0; h < 32; ++h)
      for (Dim w = 0; w < 32; ++w) in(n, Dim{0}, h, w) = h % 2 == 0 ? (w % 2 == 0 ? 1 : 3) : (w % 2 == 0 ? 0 : 4);
  const LayerParam layer = pooling({.pooling = Pooling::Stochastic, .kernel = 2, .stride = 2});
  SoloLayer solo = ran(layer, {x});
  std::array<int, 5> counts{};
  for (const double y : solo.io().top().span<double>()) ++counts[static_cast<std::size_t>(y)];
  CHECK(counts[0] == 0);
  CHECK(counts[2] == 0);
  CHECK(counts[1] == doctest::Approx(4096 / 8.0).epsilon(0.15));
  CHECK(counts[3] == doctest::Approx(4096 * 3 / 8.0).epsilon(0.1));
  CHECK(counts[4] == doctest::Approx(4096 / 2.0).epsilon(0.1));

  // The draw of output i is word i of the net's stream.
  const auto top = solo.io().top().span<double>();
  for (std::size_t i = 0; i < top.size(); ++i) {
    const std::uint32_t word = philox(solo.io().seed(), solo.io().sequence(), i / 4)[i % 4];
    const double threshold = 8 * ((static_cast<double>(word) + 1) / 4294967296.0);
    CHECK(top[i] == (threshold <= 1 ? 1 : threshold <= 4 ? 3 : 4));
  }

  solo.io().top_diff().fill(2);
  solo.backward();
  const auto out = solo.io().top().view<double>();
  const auto diff = solo.io().bottom_diff().view<double>();
  for (Dim n = 0; n < 16; ++n)
    for (Dim h = 0; h < 32; ++h)
      for (Dim w = 0; w < 32; ++w)
        CHECK(diff(n, Dim{0}, h, w) == (out(n, Dim{0}, h / 2, w / 2) == in(n, Dim{0}, h, w) ? 2 : 0));

  for (const int threads : {1, 2, 3}) check_equal(top_of(layer, {x}, {}, {.threads = threads}), solo.io().top(), 0);
  CHECK(!equal(top_of(layer, {x}, {}, {.seed = 2}), solo.io().top()));
  check_equal(top_of(layer, {x}, {}, {.dtype = DType::F32}), solo.io().top().cast(DType::F32), 0);
}

TEST_CASE("PoolingLayer: gradients of stochastic pooling") {
  for (const auto& [kernel, stride] : std::vector<std::pair<Size2, Size2>>{{2, 2}, {3, 1}, {{2, 3}, 2}})
    check_gradients_of(
        pooling({.pooling = Pooling::Stochastic, .kernel = kernel, .stride = stride}),
        {Shape{2, 2, 6, 5}},
        {.values = Filler::uniform(0.5, 2)});
}

TEST_CASE("PoolingLayer: gradients") {
  for (const Pooling method : {Pooling::Max, Pooling::Ave})
    for (const RoundMode round_mode : {RoundMode::Ceil, RoundMode::Floor})
      for (const auto& [kernel, stride, pad] : std::vector<Window>{
               {2, 2, 0},
               {3, 2, 0},
               {3, 1, 1},
               {{2, 3}, {1, 2}, {1, 0}},
               {{4, 2}, 3, {3, 1}},
               {1, 2, 0},
               {5, 1, 2}})
        check_gradients_of(
            pooling({.pooling = method, .kernel = kernel, .stride = stride, .pad = pad, .round_mode = round_mode}),
            {Shape{2, 2, 6, 5}});
  check_gradients_of(pooling({.global = true}), {Shape{2, 3, 4, 5}});
  check_gradients_of(pooling({.pooling = Pooling::Ave, .global = true}), {Shape{2, 3, 4, 5}});
}

TEST_CASE("PoolingLayer: messages") {
  const Shape image{64, 20, 12, 12};
  CHECK(refusal(pooling({}), {image}) == "option .kernel is required");
  CHECK(refusal(pooling({.kernel = {2, 0}}), {image}) == "option .kernel must be positive, not 2x0");
  CHECK(refusal(pooling({.kernel = 2, .stride = 0}), {image}) == "option .stride must be positive, not 0x0");
  CHECK(refusal(pooling({.kernel = 2, .pad = -1}), {image}) == "option .pad must not be negative: it is -1x-1");
  CHECK(refusal(pooling({.kernel = 2, .pad = {0, 2}}), {image}) == "pad 0x2 must be smaller than kernel 2x2");
  CHECK(
      refusal(pooling({.kernel = {15, 15}}), {image}) == "kernel 15x15 is larger than its 12x12 input (pad included)");
  CHECK(refusal(pooling({.kernel = 2}), {{64, 500}}) == "expects an image [N, C, H, W], which has 4 dimensions, not 2");
  CHECK(
      refusal(pooling({.global = true}), {{64, 500}}) ==
      "expects an image [N, C, H, W], which has 4 dimensions, not 2");
  CHECK(
      refusal(pooling({.pooling = Pooling::Stochastic, .kernel = 3, .pad = {0, 1}}), {image}) ==
      "stochastic pooling takes no padding: option .pad is 0x1");
  CHECK(
      refusal(with(pooling({.pooling = Pooling::Ave, .kernel = 3}), {.top = {"y", "places"}}), {image}) ==
      "Pooling::Ave has one top, not 2");
  CHECK(
      refusal(with(pooling({.kernel = 3}), {.top = {"y", "places", "z"}}), {image}) ==
      "Pooling::Max has one top or two, not 3");
  for (const PoolingOptions& options :
       {PoolingOptions{.kernel = 2, .global = true},
        PoolingOptions{.stride = 2, .global = true},
        PoolingOptions{.pad = 1, .global = true}})
    CHECK(
        refusal(pooling(options), {image}) ==
        "with .global the window is the whole image: leave .kernel, .stride and .pad out");
}
