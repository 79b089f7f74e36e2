#include "sparknet/layers/deconvolution.h"

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam deconvolution(ConvolutionOptions options) {
  return DeconvolutionLayer{"up", {"x"}, std::move(options)};
}

/// Straight from the definition: each pixel adds its kernel.
Tensor reference(const ConvolutionOptions& o, const Tensor& x, const Tensor& weights, const Tensor& bias) {
  Tensor y(shape_of(deconvolution(o), {x.shape()}), DType::F64);
  const auto in = x.view<double>();
  const auto w = weights.view<double>();
  const auto out = y.view<double>();
  const Dim outputs = weights.shape()[1], channels = x.shape()[1] / o.group;
  for (Dim n = 0; n < y.shape()[0]; ++n)
    for (Dim k = 0; k < y.shape()[1]; ++k)
      for (Dim h = 0; h < y.shape()[2]; ++h)
        for (Dim v = 0; v < y.shape()[3]; ++v) out(n, k, h, v) = o.bias ? bias.get<double>(k) : 0;
  for (Dim n = 0; n < x.shape()[0]; ++n)
    for (Dim c = 0; c < x.shape()[1]; ++c)
      for (Dim h = 0; h < x.shape()[2]; ++h)
        for (Dim v = 0; v < x.shape()[3]; ++v)
          for (Dim k = 0; k < outputs; ++k)
            for (Dim i = 0; i < o.kernel.h; ++i)
              for (Dim j = 0; j < o.kernel.w; ++j) {
                const Dim row = h * o.stride.h - o.pad.h + i * o.dilation.h;
                const Dim column = v * o.stride.w - o.pad.w + j * o.dilation.w;
                if (row < 0 || row >= y.shape()[2] || column < 0 || column >= y.shape()[3]) continue;
                out(n, c / channels * outputs + k, row, column) += in(n, c, h, v) * w(c, k, i, j);
              }
  return y;
}

struct Case {
  ConvolutionOptions options;
  Shape in;
};

const std::vector<Case> cases = {
    {{.kernel = 1, .num_output = 2}, {2, 3, 4, 4}},
    {{.kernel = 3, .num_output = 4}, {2, 3, 4, 5}},
    {{.kernel = {5, 3}, .num_output = 2, .pad = {2, 1}}, {1, 2, 5, 4}},
    {{.kernel = 3, .num_output = 2, .stride = 2}, {2, 2, 4, 3}},
    {{.kernel = 2, .num_output = 3, .stride = 2}, {2, 2, 3, 4}},
    {{.kernel = {2, 3}, .num_output = 3, .stride = {2, 3}, .pad = {1, 2}}, {2, 1, 4, 4}},
    {{.kernel = 3, .num_output = 2, .pad = 2, .dilation = 2}, {1, 2, 5, 6}},
    {{.kernel = {2, 3}, .num_output = 2, .stride = {1, 2}, .dilation = {3, 1}}, {2, 2, 3, 3}},
    {{.kernel = 3, .num_output = 4, .pad = 1, .group = 2}, {2, 6, 4, 4}},
    {{.kernel = 4, .num_output = 3, .stride = 2, .pad = 1, .group = 3}, {2, 3, 3, 4}},
    {{.kernel = 3, .num_output = 6, .stride = 2, .group = 3}, {2, 3, 3, 3}},
    {{.kernel = 3, .num_output = 3, .bias = false}, {2, 2, 3, 3}},
    {{.kernel = {5, 4}, .num_output = 2}, {3, 2, 1, 1}},
};

std::vector<Tensor> random_params(const ConvolutionOptions& o, const Shape& in) {
  std::vector<Tensor> params = {noise({in[1], o.num_output / o.group, o.kernel.h, o.kernel.w}, 2)};
  if (o.bias) params.push_back(noise({o.num_output}, 3));
  return params;
}

}  // namespace

TEST_CASE("DeconvolutionLayer: description") {
  check_description<DeconvolutionLayer>();
  CHECK(deconvolution({.kernel = 3, .num_output = 2}) == deconvolution({.kernel = {3, 3}, .num_output = 2}));
  CHECK(deconvolution({.kernel = 3, .num_output = 2}) != deconvolution({.kernel = 3, .num_output = 2, .pad = 1}));
  CHECK(
      deconvolution({.kernel = 4, .num_output = 21, .stride = 2, .weight_filler = Filler::bilinear()}).options_text() ==
      "{.kernel = 4, .num_output = 21, .stride = 2, .weight_filler = Filler::bilinear()}");
}

TEST_CASE("DeconvolutionLayer: shapes") {
  CHECK(shape_of(deconvolution({.kernel = 5, .num_output = 1}), {{64, 20, 24, 24}}) == Shape{64, 1, 28, 28});
  CHECK(
      shape_of(deconvolution({.kernel = 4, .num_output = 2, .stride = 2, .pad = 1}), {{1, 1, 6, 7}}) ==
      Shape{1, 2, 12, 14});
  CHECK(
      shape_of(deconvolution({.kernel = {3, 1}, .num_output = 2, .dilation = {2, 9}}), {{1, 1, 5, 9}}) ==
      Shape{1, 2, 9, 9});
}

TEST_CASE("DeconvolutionLayer: parameters") {
  const SoloLayer solo(
      deconvolution({.kernel = {3, 2}, .num_output = 6, .group = 3, .lr_mult = {1, 2}, .decay_mult = {1, 0}}),
      {{2, 9, 8, 8}},
      {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 2);
  CHECK(params[0].name == "weights");
  CHECK(params[0].shape == Shape{9, 2, 3, 2});
  CHECK(params[1].name == "bias");
  CHECK(params[1].shape == Shape{6});
  CHECK(params[1].lr_mult == 2);
  CHECK(params[1].decay_mult == 0);
}

TEST_CASE("DeconvolutionLayer: a hand-made case") {
  check_equal(
      top_of(
          deconvolution({.kernel = 2, .num_output = 1}),
          {numbers({1, 1, 2, 2}, {1, 2, 3, 4})},
          {numbers({1, 1, 2, 2}, {1, 10, 100, 1000}), numbers({1}, {0.5})}),
      numbers({1, 1, 3, 3}, {1.5, 12.5, 20.5, 103.5, 1234.5, 2040.5, 300.5, 3400.5, 4000.5}));
}

TEST_CASE("DeconvolutionLayer: bilinear upsampling") {
  // Twice as large: factor 2, kernel 2 * 2 - 2 % 2 = 4, pad ceil((2 - 1) / 2) = 1. A ramp stays a ramp inside.
  SoloLayer solo(
      deconvolution(
          {.kernel = 4,
           .num_output = 2,
           .stride = 2,
           .pad = 1,
           .group = 2,
           .bias = false,
           .weight_filler = Filler::bilinear()}),
      {{1, 2, 3, 4}},
      {});
  Random random(1);
  fill(solo.setup().params[0].filler, solo.io().params[0], random);
  const auto x = solo.io().bottoms[0].view<double>();
  for (Dim h = 0; h < 3; ++h)
    for (Dim w = 0; w < 4; ++w) {
      x(Dim{0}, Dim{0}, h, w) = static_cast<double>(w);
      x(Dim{0}, Dim{1}, h, w) = static_cast<double>(10 * h);
    }
  solo.forward();
  const auto y = solo.io().top().view<double>();
  REQUIRE(solo.io().top().shape() == Shape{1, 2, 6, 8});
  for (Dim h = 1; h < 5; ++h)
    for (Dim w = 1; w < 7; ++w) {
      CHECK(y(Dim{0}, Dim{0}, h, w) == doctest::Approx(static_cast<double>(w) / 2 - 0.25));
      CHECK(y(Dim{0}, Dim{1}, h, w) == doctest::Approx(10 * (static_cast<double>(h) / 2 - 0.25)));
    }
}

TEST_CASE("DeconvolutionLayer: values by the definition") {
  for (const Case& c : cases) {
    const ConvolutionOptions& options = c.options;
    CAPTURE(deconvolution(options).options_text());
    const Tensor x = noise(c.in);
    const std::vector<Tensor> params = random_params(options, c.in);
    const Tensor expected = reference(options, x, params[0], options.bias ? params[1] : Tensor());
    check_equal(top_of(deconvolution(options), {x}, params), expected);
    check_equal(
        top_of(deconvolution(options), {x}, params, {.dtype = DType::F32, .threads = 2}),
        expected.cast(DType::F32),
        1e-5);
  }
}

TEST_CASE("DeconvolutionLayer: gradients") {
  for (const Case& c : cases) check_gradients_of(deconvolution(c.options), {c.in});
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(deconvolution({.kernel = 3, .num_output = 2, .lr_mult = lr_mult}), {Shape{2, 2, 4, 4}});
  check_gradients_of(deconvolution({.kernel = 3, .num_output = 4, .stride = 2}), {Shape{3, 2, 4, 4}}, {.threads = 2});
}

TEST_CASE("DeconvolutionLayer: takes over a ReLU") {
  for (const Case& c : cases) {
    CAPTURE(deconvolution(c.options).options_text());
    for (const double slope : {0.0, 0.25}) {
      check_fused_equals_unfused(deconvolution(c.options), noise(c.in), random_params(c.options, c.in), slope);
      check_gradients_of(deconvolution(c.options), {c.in}, {.fuse = FusedReLU{slope}});
    }
  }
}

TEST_CASE("DeconvolutionLayer: messages") {
  const Shape image{64, 20, 12, 12};
  CHECK(refusal(deconvolution({.kernel = {}, .num_output = 1}), {image}) == "option .kernel is required");
  CHECK(refusal(deconvolution({.kernel = 3, .num_output = 0}), {image}) == "option .num_output is required");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 1, .stride = {0, 2}}), {image}) ==
      "option .stride must be positive, not 0x2");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 1, .dilation = 0}), {image}) ==
      "option .dilation must be positive, not 0x0");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 1, .group = 0}), {image}) ==
      "option .group must be positive, not 0");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 3, .group = 3}), {image}) ==
      "group 3 does not divide the 20 channels of its input");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 6, .group = 4}), {image}) ==
      "group 4 does not divide num_output 6");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 8}), {{64, 500}}) ==
      "expects an image [N, C, H, W], which has 4 dimensions, not 2");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 8, .pad = {2, 7}}), {image}) ==
      "pad 2x7 leaves nothing of its output: it would be 10x0");
  CHECK(
      refusal(deconvolution({.kernel = 3, .num_output = 8, .stride = {1, Dim{1} << 62}}), {image}) ==
      "option .stride is 4611686018427387904, which is too much for its input");
  CHECK(
      refusal(deconvolution({.kernel = 5, .num_output = 8, .dilation = {1, Dim{1} << 62}}), {image}) ==
      "option .dilation is 4611686018427387904, which is too much for a kernel of 5");
}
