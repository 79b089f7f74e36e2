#include "sparknet/layers/pooling.h"

#include "layer_test.h"

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
  for (const PoolingOptions& options :
       {PoolingOptions{.kernel = 2, .global = true},
        PoolingOptions{.stride = 2, .global = true},
        PoolingOptions{.pad = 1, .global = true}})
    CHECK(
        refusal(pooling(options), {image}) ==
        "with .global the window is the whole image: leave .kernel, .stride and .pad out");
}
