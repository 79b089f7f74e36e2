#include "sparknet/layers/deconvolution_nd.h"

#include "layer_test.h"
#include "sparknet/layers/deconvolution.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam deconvolution(ConvolutionNdOptions options) {
  return DeconvolutionNdLayer{"up", {"x"}, std::move(options)};
}

struct Case {
  ConvolutionNdOptions options;
  Shape in;
};

const std::vector<Case> cases = {
    {{.kernel = {3}, .num_output = 4}, {2, 3, 5}},
    {{.kernel = {4}, .num_output = 4, .stride = {2}, .pad = {1}, .dilation = {2}, .group = 2}, {2, 4, 4}},
    {{.kernel = {3, 2}, .num_output = 4, .pad = {1, 0}, .axis = 2}, {2, 2, 3, 4, 3}},
    {{.kernel = {2}, .num_output = 3, .stride = {2}}, {3, 2, 2, 3, 2}},
    {{.kernel = {3, 2, 1}, .num_output = 2, .stride = {1, 2, 1}, .pad = {1, 1, 0}, .bias = false}, {2, 2, 2, 3, 2}},
    {{.kernel = {2}, .num_output = 4, .group = 2}, {2, 2, 2, 2, 2}},
    {{.kernel = {}, .num_output = 4}, {3, 5}},
};

Shape weights_shape(const Case& c) {
  const std::size_t axis = static_cast<std::size_t>(c.options.axis);
  Shape shape{c.in[axis], c.options.num_output / c.options.group};
  for (std::size_t i = 0; i + axis + 1 < c.in.size(); ++i)
    shape.push_back(c.options.kernel[c.options.kernel.size() == 1 ? 0 : i]);
  return shape;
}

std::vector<Tensor> random_params(const Case& c) {
  std::vector<Tensor> params = {noise(weights_shape(c), 2)};
  if (c.options.bias) params.push_back(noise({c.options.num_output}, 3));
  return params;
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  REQUIRE(a.shape() == b.shape());
  for (std::size_t i = 0; i < a.span<double>().size(); ++i) sum += a.span<double>()[i] * b.span<double>()[i];
  return sum;
}

}  // namespace

TEST_CASE("DeconvolutionNdLayer: description") {
  check_description<DeconvolutionNdLayer>();
  CHECK(
      deconvolution({.kernel = {2}, .num_output = 8, .stride = {2}}).options_text() ==
      "{.kernel = {2}, .num_output = 8, .stride = {2}}");
}

TEST_CASE("DeconvolutionLayer: over other than two axes it is DeconvolutionNdLayer, one number for all of them") {
  const ConvolutionNdOptions nd{.kernel = {3}, .num_output = 4, .stride = {2}, .pad = {1}, .group = 2};
  const DeconvolutionLayer layer{"up", {"x"}, {.kernel = 3, .num_output = 4, .stride = 2, .pad = 1, .group = 2}};
  for (const Shape& in : {Shape{2, 4, 5}, Shape{2, 4, 2, 3, 2}}) {
    CHECK(shape_of(layer, {in}) == shape_of(deconvolution(nd), {in}));
    const std::vector<Tensor> params = random_params({nd, in});
    check_equal(top_of(layer, {noise(in)}, params), top_of(deconvolution(nd), {noise(in)}, params));
    check_gradients_of(layer, {in});
  }
  CHECK(
      refusal(DeconvolutionLayer{"up", {"x"}, {.kernel = {2, 3}, .num_output = 4}}, {{2, 4, 7}}) ==
      "expects an image [N, C, H, W], which has 4 dimensions, not 3");
}

TEST_CASE("DeconvolutionNdLayer: shapes and parameters") {
  CHECK(
      shape_of(deconvolution({.kernel = {4}, .num_output = 2, .stride = {2}, .pad = {1}}), {{1, 3, 5, 6, 7}}) ==
      Shape{1, 2, 10, 12, 14});
  CHECK(shape_of(deconvolution({.kernel = {3}, .num_output = 2, .dilation = {2}}), {{4, 3, 5}}) == Shape{4, 2, 9});
  for (const Case& c : cases) {
    const SoloLayer solo(deconvolution(c.options), {c.in}, {});
    CHECK(solo.setup().params[0].shape == weights_shape(c));
  }
}

TEST_CASE("DeconvolutionNdLayer: a hand-made case") {
  check_equal(
      top_of(
          deconvolution({.kernel = {2, 1, 2}, .num_output = 1, .stride = {1, 1, 2}}),
          {numbers({1, 1, 1, 2, 2}, {1, 2, 3, 4})},
          {numbers({1, 1, 2, 1, 2}, {1, 10, 100, 1000}), numbers({1}, {0.5})}),
      numbers(
          {1, 1, 2, 2, 4},
          {1.5, 10.5, 2.5, 20.5, 3.5, 30.5, 4.5, 40.5, 100.5, 1000.5, 200.5, 2000.5, 300.5, 3000.5, 400.5, 4000.5}));
}

TEST_CASE("DeconvolutionNdLayer: is the adjoint of the convolution") {
  for (const Case& c : cases) {
    CAPTURE(deconvolution(c.options).options_text());
    Case plain = c;
    plain.options.bias = false;
    const Tensor x = noise(c.in), weights = noise(weights_shape(c), 2);
    const Tensor y = top_of(deconvolution(plain.options), {x}, {weights});
    const Tensor other = noise(y.shape(), 4);
    ConvolutionNdOptions convolution = plain.options;
    convolution.num_output = c.in[static_cast<std::size_t>(c.options.axis)];
    const Tensor back = top_of(ConvolutionNdLayer{"conv", {"x"}, convolution}, {other}, {weights});
    CHECK(dot(y, other) == doctest::Approx(dot(x, back)));
    check_equal(
        top_of(deconvolution(plain.options), {x}, {weights}, {.dtype = DType::F32, .threads = 2}),
        y.cast(DType::F32),
        1e-5);
  }
}

TEST_CASE("DeconvolutionNdLayer: over two axes it is DeconvolutionLayer") {
  const Tensor x = noise({2, 4, 4, 3});
  const std::vector<Tensor> params = {noise({4, 3, 3, 2}, 2), noise({6}, 3)};
  check_equal(
      top_of(deconvolution({.kernel = {3, 2}, .num_output = 6, .stride = {2, 1}, .pad = {1}, .group = 2}), {x}, params),
      top_of(
          DeconvolutionLayer{"up", {"x"}, {.kernel = {3, 2}, .num_output = 6, .stride = {2, 1}, .pad = 1, .group = 2}},
          {x},
          params),
      0);
}

TEST_CASE("DeconvolutionNdLayer: gradients") {
  for (const Case& c : cases) {
    CAPTURE(deconvolution(c.options).options_text());
    check_gradients_of(deconvolution(c.options), {c.in});
    check_gradients_of(deconvolution(c.options), {c.in}, {.threads = 2});
    check_gradients_of(deconvolution(c.options), {c.in}, {.fuse = FusedReLU{0.25}});
    check_fused_equals_unfused(deconvolution(c.options), noise(c.in), random_params(c), 0);
  }
}

TEST_CASE("DeconvolutionNdLayer: messages") {
  const Shape volume{2, 20, 12, 12, 12};
  CHECK(refusal(deconvolution({.kernel = {}, .num_output = 1}), {volume}) == "option .kernel is required");
  CHECK(
      refusal(deconvolution({.kernel = {3}, .num_output = -1}), {volume}) ==
      "option .num_output must be positive, not -1");
  CHECK(
      refusal(deconvolution({.kernel = {3}, .num_output = 1, .group = -1}), {volume}) ==
      "option .group must be positive, not -1");
  CHECK(
      refusal(deconvolution({.kernel = {3}, .num_output = 6, .group = 4}), {volume}) ==
      "group 4 does not divide num_output 6");
  CHECK(
      refusal(deconvolution({.kernel = {3}, .num_output = 3, .pad = {1, 7, 1}}), {volume}) ==
      "pad 7 leaves nothing of its output along spatial axis 1: it would be 0 long");
}
