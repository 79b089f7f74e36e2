#include "sparknet/layers/im2col.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam im2col(Im2colOptions options) {
  return Im2colLayer{"patches", {"x"}, std::move(options)};
}

}  // namespace

TEST_CASE("Im2colLayer: description") {
  check_description<Im2colLayer>();
  CHECK(im2col({.kernel = {3, 5}}) != im2col({.kernel = {3}}));
  CHECK(
      im2col({.kernel = {3, 5}, .stride = {2}, .pad = {1, 0}, .dilation = {2}, .axis = 2}).options_text() ==
      "{.kernel = {3, 5}, .stride = {2}, .pad = {1, 0}, .dilation = {2}, .axis = 2}");
}

TEST_CASE("Im2colLayer: shapes") {
  CHECK(shape_of(im2col({.kernel = {5, 5}}), {{64, 3, 28, 28}}) == Shape{64, 75, 24, 24});
  CHECK(
      shape_of(im2col({.kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 0}, .dilation = {1, 3}}), {{2, 3, 7, 8}}) ==
      Shape{2, 18, 4, 5});
  CHECK(shape_of(im2col({.kernel = {3}}), {{2, 3, 7}}) == Shape{2, 9, 5});
  CHECK(shape_of(im2col({.kernel = {3}}), {{2, 3, 7, 6, 5}}) == Shape{2, 81, 5, 4, 3});
  CHECK(shape_of(im2col({.kernel = {3}, .axis = 2}), {{2, 3, 4, 6, 5}}) == Shape{2, 3, 36, 4, 3});
  CHECK(shape_of(im2col({.kernel = {3}, .axis = -2}), {{2, 3, 4, 6}}) == Shape{2, 3, 12, 4});
  CHECK(shape_of(im2col({}), {{2, 3}}) == Shape{2, 3});
}

TEST_CASE("Im2colLayer: hand-made cases") {
  const Tensor x = numbers({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6});
  check_equal(top_of(im2col({.kernel = {2, 2}}), {x}), numbers({1, 4, 1, 2}, {1, 2, 2, 3, 4, 5, 5, 6}));
  check_equal(
      top_of(im2col({.kernel = {1, 2}, .stride = {1, 2}, .pad = {0, 1}}), {x}),
      numbers({1, 2, 2, 2}, {0, 2, 0, 5, 1, 3, 4, 6}));
  check_equal(
      top_of(im2col({.kernel = {2}, .dilation = {2}}), {numbers({1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})}),
      numbers({1, 4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  check_equal(top_of(im2col({}), {numbers({2, 2}, {1, 2, 3, 4})}), numbers({2, 2}, {1, 2, 3, 4}));
}

TEST_CASE("Im2colLayer: three axes by the definition") {
  const Tensor x = noise({2, 2, 5, 4, 6});
  const Im2colOptions o{.kernel = {2, 3, 2}, .stride = {2, 1, 3}, .pad = {1, 2, 0}, .dilation = {1, 1, 2}};
  const Tensor y = top_of(im2col(o), {x}, {}, {.threads = 2});
  REQUIRE(y.shape() == Shape{2, 24, 3, 6, 2});
  const auto in = x.view<double>(), out = y.view<double>();
  for (Dim n = 0; n < 2; ++n)
    for (Dim row = 0; row < 24; ++row)
      for (Dim d = 0; d < 3; ++d)
        for (Dim h = 0; h < 6; ++h)
          for (Dim w = 0; w < 2; ++w) {
            const Dim i = 2 * d - 1 + row / 6 % 2, j = h - 2 + row / 2 % 3, k = 3 * w + 2 * (row % 2);
            const bool inside = i >= 0 && i < 5 && j >= 0 && j < 4 && k < 6;
            CHECK(out(n, row, d, h, w) == (inside ? in(n, row / 12, i, j, k) : 0));
          }
}

TEST_CASE("Im2colLayer: gradients") {
  check_gradients_of(im2col({.kernel = {3}}), {Shape{2, 2, 5, 4}});
  check_gradients_of(im2col({.kernel = {3, 2}, .stride = {2, 3}, .pad = {2, 1}}), {Shape{2, 2, 5, 6}});
  check_gradients_of(im2col({.kernel = {2}, .pad = {3}, .dilation = {2}}), {Shape{2, 3, 5}});
  check_gradients_of(im2col({.kernel = {2, 1, 3}, .stride = {1, 2, 1}, .axis = 2}), {Shape{2, 1, 2, 3, 3, 4}});
  check_gradients_of(im2col({}), {Shape{2, 3}});
}

TEST_CASE("Im2colLayer: messages") {
  const Shape image{2, 3, 12, 10};
  CHECK(refusal(im2col({}), {image}) == "option .kernel is required");
  CHECK(
      refusal(im2col({.kernel = {3, 3, 3}}), {image}) ==
      "option .kernel holds 3 numbers and its input has 2 spatial axes: give one number for all, or one for each");
  CHECK(refusal(im2col({.kernel = {3, 0}}), {image}) == "option .kernel must be positive, not 0");
  CHECK(refusal(im2col({.kernel = {3}, .stride = {0}}), {image}) == "option .stride must be positive, not 0");
  CHECK(refusal(im2col({.kernel = {3}, .pad = {0, -1}}), {image}) == "option .pad must not be negative, not -1");
  CHECK(refusal(im2col({.kernel = {3}, .dilation = {0}}), {image}) == "option .dilation must be positive, not 0");
  CHECK(refusal(im2col({.kernel = {3}, .axis = 4}), {image}) == "there is no axis 4 in its input of 4 dimensions");
  CHECK(
      refusal(im2col({.kernel = {3, 15}, .pad = {0, 1}}), {image}) ==
      "kernel 3x15 is larger than its 12x12 input (pad included)");
  CHECK(
      refusal(im2col({.kernel = {5}, .dilation = {3}}), {image}) ==
      "kernel 5x5, dilated to 13x13, is larger than its 12x10 input (pad included)");
}
