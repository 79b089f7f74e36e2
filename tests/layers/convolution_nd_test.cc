#include "sparknet/layers/convolution_nd.h"

#include "layer_test.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/im2col.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam convolution(ConvolutionNdOptions options) {
  return ConvolutionNdLayer{"conv", {"x"}, std::move(options)};
}

struct Case {
  ConvolutionNdOptions options;
  Shape in;
};

const std::vector<Case> cases = {
    {{.kernel = {3}, .num_output = 4}, {2, 3, 8}},
    {{.kernel = {3}, .num_output = 4, .stride = {2}, .pad = {1}, .dilation = {2}, .group = 2}, {2, 4, 9}},
    {{.kernel = {3, 2}, .num_output = 4, .pad = {1, 0}}, {2, 3, 5, 4}},
    {{.kernel = {3}, .num_output = 4, .axis = 2}, {2, 2, 3, 5, 4}},
    {{.kernel = {2}, .num_output = 3}, {3, 2, 3, 4, 3}},
    {{.kernel = {3, 2, 1}, .num_output = 2, .stride = {1, 2, 1}, .pad = {1, 1, 0}, .bias = false}, {2, 2, 3, 4, 2}},
    {{.kernel = {2}, .num_output = 4, .pad = {1}, .dilation = {2, 1, 1}, .group = 2}, {1, 4, 3, 3, 2}},
    {{.kernel = {2}, .num_output = 3, .group = 3}, {2, 3, 3, 2, 3}},
    {{.kernel = {2, 1, 2, 2}, .num_output = 2}, {2, 2, 3, 2, 2, 3}},
    {{.kernel = {}, .num_output = 4}, {3, 5}},
    {{.kernel = {2}, .num_output = 2, .axis = 0}, {2, 4, 3}},
};

Shape weights_shape(const Case& c) {
  const std::size_t axis = static_cast<std::size_t>(c.options.axis);
  Shape shape{c.options.num_output, c.in[axis] / c.options.group};
  for (std::size_t i = 0; i + axis + 1 < c.in.size(); ++i)
    shape.push_back(c.options.kernel[c.options.kernel.size() == 1 ? 0 : i]);
  return shape;
}

std::vector<Tensor> random_params(const Case& c) {
  std::vector<Tensor> params = {noise(weights_shape(c), 2)};
  if (c.options.bias) params.push_back(noise({c.options.num_output}, 3));
  return params;
}

/// Sums over the columns of Im2col, which has a test by the definition.
Tensor reference(const Case& c, const Tensor& x, const std::vector<Tensor>& params) {
  const ConvolutionNdOptions& o = c.options;
  const Tensor columns = top_of(
      Im2colLayer{
          "patches",
          {"x"},
          {.kernel = o.kernel, .stride = o.stride, .pad = o.pad, .dilation = o.dilation, .axis = o.axis}},
      {x});
  Tensor y(shape_of(convolution(o), {x.shape()}), DType::F64);
  const std::size_t axis = static_cast<std::size_t>(o.axis);
  const Dim batch = x.shape().count(0, axis), positions = y.shape().count(axis + 1);
  const Dim all = columns.shape()[axis], taps = all / o.group, outputs = o.num_output / o.group;
  const auto from = columns.span<double>(), weights = params[0].span<double>();
  const auto to = y.span<double>();
  for (Dim n = 0; n < batch; ++n)
    for (Dim k = 0; k < o.num_output; ++k)
      for (Dim p = 0; p < positions; ++p) {
        double sum = o.bias ? params[1].get<double>(k) : 0;
        for (Dim t = 0; t < taps; ++t)
          sum += weights[static_cast<std::size_t>(k * taps + t)] *
                 from[static_cast<std::size_t>((n * all + k / outputs * taps + t) * positions + p)];
        to[static_cast<std::size_t>((n * o.num_output + k) * positions + p)] = sum;
      }
  return y;
}

}  // namespace

TEST_CASE("ConvolutionNdLayer: description") {
  check_description<ConvolutionNdLayer>();
  CHECK(convolution({.kernel = {3}, .num_output = 2}) != convolution({.kernel = {3, 3}, .num_output = 2}));
  CHECK(convolution({.kernel = {5, 5}, .num_output = 20}).options_text() == "{.kernel = {5, 5}, .num_output = 20}");
  CHECK(
      convolution({.kernel = {5, 3, 1},
                   .num_output = 20,
                   .stride = {2},
                   .pad = {1, 0, 0},
                   .dilation = {2},
                   .group = 5,
                   .bias = false,
                   .weight_filler = Filler::msra(),
                   .bias_filler = Filler::constant(0.1),
                   .lr_mult = {1, 2},
                   .decay_mult = {.bias = 0},
                   .axis = 2})
          .options_text() ==
      "{.kernel = {5, 3, 1}, .num_output = 20, .stride = {2}, .pad = {1, 0, 0}, .dilation = {2}, .group = 5, "
      ".bias = false, .weight_filler = Filler::msra(), .bias_filler = Filler::constant(0.1), .lr_mult = {1, 2}, "
      ".decay_mult = {1, 0}, .axis = 2}");
}

TEST_CASE("ConvolutionNdLayer: shapes and parameters") {
  CHECK(shape_of(convolution({.kernel = {5}, .num_output = 20}), {{64, 1, 28}}) == Shape{64, 20, 24});
  CHECK(
      shape_of(convolution({.kernel = {3}, .num_output = 2, .stride = {2}, .pad = {1}}), {{1, 1, 6, 7, 8}}) ==
      Shape{1, 2, 3, 4, 4});
  CHECK(shape_of(convolution({.kernel = {3}, .num_output = 2, .axis = -3}), {{4, 5, 1, 6, 7}}) == Shape{4, 5, 2, 4, 5});
  for (const Case& c : cases) {
    const SoloLayer solo(convolution(c.options), {c.in}, {});
    REQUIRE(solo.setup().params.size() == (c.options.bias ? 2 : 1));
    CHECK(solo.setup().params[0].name == "weights");
    CHECK(solo.setup().params[0].shape == weights_shape(c));
  }
}

TEST_CASE("ConvolutionNdLayer: a hand-made case") {
  check_equal(
      top_of(
          convolution({.kernel = {2}, .num_output = 1}),
          {numbers({1, 1, 2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})},
          {numbers({1, 1, 2, 2, 2}, {1, 0, 0, 0, 0, 0, 0, 10}), numbers({1}, {0.5})}),
      numbers({1, 1, 1, 1, 2}, {111.5, 122.5}));
}

TEST_CASE("ConvolutionNdLayer: values by the definition") {
  for (const Case& c : cases) {
    CAPTURE(convolution(c.options).options_text());
    const Tensor x = noise(c.in);
    const std::vector<Tensor> params = random_params(c);
    const Tensor expected = reference(c, x, params);
    check_equal(top_of(convolution(c.options), {x}, params), expected);
    check_equal(
        top_of(convolution(c.options), {x}, params, {.dtype = DType::F32, .threads = 2}),
        expected.cast(DType::F32),
        1e-5);
  }
}

TEST_CASE("ConvolutionLayer: over other than two axes it is ConvolutionNdLayer, one number for all of them") {
  const ConvolutionNdOptions
      nd{.kernel = {2}, .num_output = 4, .stride = {2}, .pad = {1}, .dilation = {2}, .group = 2, .bias = false};
  const ConvolutionLayer layer{
      "conv",
      {"x"},
      {.kernel = 2, .num_output = 4, .stride = 2, .pad = 1, .dilation = 2, .group = 2, .bias = false}};
  for (const Shape& in : {Shape{2, 4, 7}, Shape{2, 4, 3, 4, 5}}) {
    CHECK(shape_of(layer, {in}) == shape_of(convolution(nd), {in}));
    const std::vector<Tensor> params = random_params({nd, in});
    check_equal(top_of(layer, {noise(in)}, params), top_of(convolution(nd), {noise(in)}, params));
    check_gradients_of(layer, {in}, {.fuse = FusedReLU{0.25}});
    check_fused_equals_unfused(layer, noise(in), params, 0.25);
  }
  const Shape signal{2, 4, 7};
  CHECK(
      refusal(ConvolutionLayer{"conv", {"x"}, {.kernel = {2, 3}, .num_output = 4}}, {signal}) ==
      "expects an image [N, C, H, W], which has 4 dimensions, not 3");
  CHECK(
      refusal(ConvolutionLayer{"conv", {"x"}, {.kernel = 9, .num_output = 4}}, {signal}) ==
      refusal(convolution({.kernel = {9}, .num_output = 4}), {signal}));
}

TEST_CASE("ConvolutionNdLayer: over two axes it is ConvolutionLayer") {
  const Tensor x = noise({2, 4, 7, 6});
  const std::vector<Tensor> params = {noise({6, 2, 3, 2}, 2), noise({6}, 3)};
  check_equal(
      top_of(convolution({.kernel = {3, 2}, .num_output = 6, .stride = {2, 1}, .pad = {1}, .group = 2}), {x}, params),
      top_of(
          ConvolutionLayer{"conv", {"x"}, {.kernel = {3, 2}, .num_output = 6, .stride = {2, 1}, .pad = 1, .group = 2}},
          {x},
          params),
      0);
}

TEST_CASE("ConvolutionNdLayer: gradients") {
  for (const Case& c : cases) {
    check_gradients_of(convolution(c.options), {c.in});
    check_gradients_of(convolution(c.options), {c.in}, {.threads = 2});
  }
  for (const Multipliers lr_mult : {Multipliers{0, 1}, Multipliers{1, 0}, Multipliers{0, 0}})
    check_gradients_of(convolution({.kernel = {2}, .num_output = 2, .lr_mult = lr_mult}), {Shape{2, 2, 3, 3, 2}});
}

TEST_CASE("ConvolutionNdLayer: takes over a ReLU") {
  for (const Case& c : cases) {
    CAPTURE(convolution(c.options).options_text());
    for (const double slope : {0.0, 0.25}) {
      check_fused_equals_unfused(convolution(c.options), noise(c.in), random_params(c), slope);
      check_gradients_of(convolution(c.options), {c.in}, {.fuse = FusedReLU{slope}});
    }
  }
}

TEST_CASE("ConvolutionNdLayer: messages") {
  const Shape volume{2, 20, 12, 12, 12};
  CHECK(refusal(convolution({.kernel = {}, .num_output = 1}), {volume}) == "option .kernel is required");
  CHECK(
      refusal(convolution({.kernel = {3, 3}, .num_output = 1}), {volume}) ==
      "option .kernel holds 2 numbers and its input has 3 spatial axes: give one number for all, or one for each");
  CHECK(refusal(convolution({.kernel = {-1}, .num_output = 1}), {volume}) == "option .kernel must be positive, not -1");
  CHECK(refusal(convolution({.kernel = {3}, .num_output = 0}), {volume}) == "option .num_output is required");
  CHECK(
      refusal(convolution({.kernel = {3}, .num_output = 1, .stride = {1, 2}}), {volume}) ==
      "option .stride holds 2 numbers and its input has 3 spatial axes: give one number for all, or one for each");
  CHECK(
      refusal(convolution({.kernel = {3}, .num_output = 1, .group = 0}), {volume}) ==
      "option .group must be positive, not 0");
  CHECK(
      refusal(convolution({.kernel = {3}, .num_output = 3, .group = 3}), {volume}) ==
      "group 3 does not divide the 20 channels of its input");
  CHECK(
      refusal(convolution({.kernel = {3}, .num_output = 6, .group = 4}), {volume}) ==
      "group 4 does not divide num_output 6");
  CHECK(
      refusal(convolution({.kernel = {3}, .num_output = 6, .axis = 5}), {volume}) ==
      "there is no axis 5 in its input of 5 dimensions");
  CHECK(
      refusal(convolution({.kernel = {3, 15, 1}, .num_output = 50, .pad = {0, 1, 0}}), {volume}) ==
      "kernel 3x15x1 is larger than its 12x14x12 input (pad included)");
}
