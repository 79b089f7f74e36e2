#include "sparknet/layers/convolution.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam convolution(ConvolutionOptions options) {
  return ConvolutionLayer{"conv", {"x"}, std::move(options)};
}

/// Straight from the definition, in double.
Tensor reference(const ConvolutionOptions& o, const Tensor& x, const Tensor& weights, const Tensor& bias) {
  Tensor y(shape_of(convolution(o), {x.shape()}), DType::F64);
  const auto in = x.view<double>();
  const auto w = weights.view<double>();
  const auto out = y.view<double>();
  const Shape& shape = y.shape();
  const Dim channels = weights.shape()[1], outputs = o.num_output / o.group;
  for (Dim n = 0; n < shape[0]; ++n)
    for (Dim k = 0; k < shape[1]; ++k)
      for (Dim h = 0; h < shape[2]; ++h)
        for (Dim v = 0; v < shape[3]; ++v) {
          double sum = o.bias ? bias.get<double>(k) : 0;
          for (Dim c = 0; c < channels; ++c)
            for (Dim i = 0; i < o.kernel.h; ++i)
              for (Dim j = 0; j < o.kernel.w; ++j) {
                const Dim row = h * o.stride.h - o.pad.h + i * o.dilation.h;
                const Dim column = v * o.stride.w - o.pad.w + j * o.dilation.w;
                if (row < 0 || row >= x.shape()[2] || column < 0 || column >= x.shape()[3]) continue;
                sum += w(k, c, i, j) * in(n, k / outputs * channels + c, row, column);
              }
          out(n, k, h, v) = sum;
        }
  return y;
}

struct Case {
  ConvolutionOptions options;
  Shape in;
};

const std::vector<Case> cases = {
    {{.kernel = 1, .num_output = 2}, {2, 3, 4, 4}},
    {{.kernel = 3, .num_output = 4}, {2, 3, 6, 5}},
    {{.kernel = {5, 3}, .num_output = 2, .pad = {2, 1}}, {1, 2, 7, 6}},
    {{.kernel = 3, .num_output = 2, .stride = 2}, {2, 2, 7, 8}},
    {{.kernel = {2, 3}, .num_output = 3, .stride = {2, 3}, .pad = {1, 2}}, {2, 1, 6, 7}},
    {{.kernel = 3, .num_output = 2, .pad = 2, .dilation = 2}, {1, 2, 7, 6}},
    {{.kernel = {2, 3}, .num_output = 2, .stride = {1, 2}, .dilation = {3, 1}}, {2, 2, 6, 6}},
    {{.kernel = 3, .num_output = 4, .pad = 1, .group = 2}, {2, 4, 5, 5}},
    {{.kernel = 2, .num_output = 6, .group = 3}, {1, 3, 4, 5}},
    {{.kernel = 3, .num_output = 3, .bias = false}, {2, 2, 5, 5}},
    {{.kernel = {5, 4}, .num_output = 2}, {3, 2, 5, 4}},
};

std::vector<Tensor> random_params(const ConvolutionOptions& o, const Shape& in) {
  std::vector<Tensor> params = {noise({o.num_output, in[1] / o.group, o.kernel.h, o.kernel.w}, 2)};
  if (o.bias) params.push_back(noise({o.num_output}, 3));
  return params;
}

}  // namespace

TEST_CASE("ConvolutionLayer: description") {
  check_description<ConvolutionLayer>();
  CHECK(convolution({.kernel = 3, .num_output = 2}) == convolution({.kernel = {3, 3}, .num_output = 2}));
  CHECK(convolution({.kernel = 3, .num_output = 2}) != convolution({.kernel = 3, .num_output = 2, .pad = 1}));
  CHECK(convolution({.kernel = {5, 5}, .num_output = 20}).options_text() == "{.kernel = 5, .num_output = 20}");
  CHECK(
      convolution({.kernel = {5, 3},
                   .num_output = 20,
                   .stride = 2,
                   .pad = {1, 0},
                   .dilation = 2,
                   .group = 5,
                   .bias = false,
                   .weight_filler = Filler::msra(),
                   .bias_filler = Filler::constant(0.1),
                   .lr_mult = {1, 2},
                   .decay_mult = {.bias = 0}})
          .options_text() ==
      "{.kernel = {5, 3}, .num_output = 20, .stride = 2, .pad = {1, 0}, .dilation = 2, .group = 5, .bias = false, "
      ".weight_filler = Filler::msra(), .bias_filler = Filler::constant(0.1), .lr_mult = {1, 2}, "
      ".decay_mult = {1, 0}}");
}

TEST_CASE("ConvolutionLayer: shapes round down") {
  CHECK(shape_of(convolution({.kernel = 5, .num_output = 20}), {{64, 1, 28, 28}}) == Shape{64, 20, 24, 24});
  CHECK(
      shape_of(convolution({.kernel = 3, .num_output = 2, .stride = 2, .pad = 1}), {{1, 1, 6, 7}}) ==
      Shape{1, 2, 3, 4});
  CHECK(
      shape_of(convolution({.kernel = {3, 1}, .num_output = 2, .dilation = {2, 9}}), {{1, 1, 9, 9}}) ==
      Shape{1, 2, 5, 9});
}

TEST_CASE("ConvolutionLayer: parameters") {
  const SoloLayer solo(
      convolution({.kernel = {3, 2}, .num_output = 6, .group = 3, .lr_mult = {1, 2}, .decay_mult = {1, 0}}),
      {{2, 9, 8, 8}},
      {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 2);
  CHECK(params[0].name == "weights");
  CHECK(params[0].shape == Shape{6, 3, 3, 2});
  CHECK(params[0].filler == Filler::xavier());
  CHECK(params[0].lr_mult == 1);
  CHECK(params[0].decay_mult == 1);
  CHECK(params[1].name == "bias");
  CHECK(params[1].shape == Shape{6});
  CHECK(params[1].filler == Filler::constant(0));
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
  CHECK(
      SoloLayer(convolution({.kernel = 1, .num_output = 1, .bias = false}), {{1, 1, 1, 1}}, {}).setup().params.size() ==
      1);
}

TEST_CASE("ConvolutionLayer: a hand-made case") {
  check_equal(
      top_of(
          convolution({.kernel = 2, .num_output = 2}),
          {numbers({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9})},
          {numbers({2, 1, 2, 2}, {1, 0, 0, -1, 1, 1, 1, 1}), numbers({2}, {10, 0.5})}),
      numbers({1, 2, 2, 2}, {6, 6, 6, 6, 12.5, 16.5, 24.5, 28.5}));
}

TEST_CASE("ConvolutionLayer: values by the definition") {
  for (const Case& c : cases) {
    const ConvolutionOptions& options = c.options;
    const Shape& shape = c.in;
    CAPTURE(convolution(options).options_text());
    const Tensor x = noise(shape);
    const std::vector<Tensor> params = random_params(options, shape);
    const Tensor expected = reference(options, x, params[0], options.bias ? params[1] : Tensor());
    check_equal(top_of(convolution(options), {x}, params), expected);
    check_equal(
        top_of(convolution(options), {x}, params, {.dtype = DType::F32, .threads = 2}),
        expected.cast(DType::F32),
        1e-5);
  }
}

TEST_CASE("ConvolutionLayer: gradients") {
  for (const Case& c : cases) check_gradients_of(convolution(c.options), {c.in});
}

TEST_CASE("ConvolutionLayer: gradients where a parameter does not learn") {
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(convolution({.kernel = 3, .num_output = 2, .lr_mult = lr_mult}), {Shape{2, 2, 5, 5}});
}

TEST_CASE("ConvolutionLayer: takes over a ReLU") {
  for (const Case& c : cases) {
    const ConvolutionOptions& options = c.options;
    const Shape& shape = c.in;
    CAPTURE(convolution(options).options_text());
    for (const double slope : {0.0, 0.25}) {
      check_fused_equals_unfused(convolution(options), noise(shape), random_params(options, shape), slope);
      check_gradients_of(convolution(options), {shape}, {.fuse = FusedReLU{slope}});
    }
  }
}

TEST_CASE("ConvolutionLayer: messages") {
  const Shape image{64, 20, 12, 12};
  CHECK(refusal(convolution({.kernel = {}, .num_output = 1}), {image}) == "option .kernel is required");
  CHECK(
      refusal(convolution({.kernel = {-1, 3}, .num_output = 1}), {image}) ==
      "option .kernel must be positive, not -1x3");
  CHECK(refusal(convolution({.kernel = 3, .num_output = 0}), {image}) == "option .num_output is required");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = -2}), {image}) == "option .num_output must be positive, not -2");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 1, .stride = {0, 2}}), {image}) ==
      "option .stride must be positive, not 0x2");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 1, .pad = {0, -1}}), {image}) ==
      "option .pad must not be negative: it is 0x-1");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 1, .dilation = 0}), {image}) ==
      "option .dilation must be positive, not 0x0");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 1, .group = 0}), {image}) ==
      "option .group must be positive, not 0");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 3, .group = 3}), {image}) ==
      "group 3 does not divide the 20 channels of its input");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 6, .group = 4}), {image}) ==
      "group 4 does not divide num_output 6");
  CHECK(
      refusal(convolution({.kernel = 3, .num_output = 8}), {{64, 500}}) ==
      "expects an image [N, C, H, W], which has 4 dimensions, not 2");
  CHECK(
      refusal(convolution({.kernel = {15, 15}, .num_output = 50}), {image}) ==
      "kernel 15x15 is larger than its 12x12 input (pad included)");
  CHECK(
      refusal(convolution({.kernel = {3, 15}, .num_output = 50, .pad = {0, 1}}), {image}) ==
      "kernel 3x15 is larger than its 12x14 input (pad included)");
  CHECK(
      refusal(convolution({.kernel = 5, .num_output = 50, .dilation = 4}), {image}) ==
      "kernel 5x5, dilated to 17x17, is larger than its 12x12 input (pad included)");
}
