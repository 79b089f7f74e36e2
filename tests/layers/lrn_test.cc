#include "sparknet/layers/lrn.h"

#include <cmath>
#include <limits>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam lrn(LRNOptions options = {}) {
  return LRNLayer{"norm", {"x"}, options};
}

/// Straight from the definition.
Tensor reference(const LRNOptions& o, const Tensor& x) {
  Tensor y(x.shape(), DType::F64);
  const Shape& s = x.shape();
  const auto in = x.view<double>();
  const auto out = y.view<double>();
  const bool across = o.norm_region == NormRegion::AcrossChannels;
  const Dim half = o.local_size / 2;
  for (Dim n = 0; n < s[0]; ++n)
    for (Dim c = 0; c < s[1]; ++c)
      for (Dim h = 0; h < s[2]; ++h)
        for (Dim w = 0; w < s[3]; ++w) {
          double sum = 0;
          const auto add = [&](Dim k, Dim i, Dim j) {
            if (k >= 0 && k < s[1] && i >= 0 && i < s[2] && j >= 0 && j < s[3]) sum += in(n, k, i, j) * in(n, k, i, j);
          };
          for (Dim a = -half; a <= half; ++a) {
            if (across) add(c + a, h, w);
            for (Dim b = -half; b <= half && !across; ++b) add(c, h + a, w + b);
          }
          const double size = static_cast<double>(across ? o.local_size : o.local_size * o.local_size);
          out(n, c, h, w) = in(n, c, h, w) / std::pow(o.k + o.alpha / size * sum, o.beta);
        }
  return y;
}

std::vector<LRNOptions> configurations() {
  std::vector<LRNOptions> all;
  for (const NormRegion region : {NormRegion::AcrossChannels, NormRegion::WithinChannel})
    for (const Dim size : {1, 3, 5, 9}) {
      all.push_back({.local_size = size, .norm_region = region});
      all.push_back({.local_size = size, .alpha = 2, .beta = 0.5, .norm_region = region, .k = 1.5});
    }
  return all;
}

}  // namespace

TEST_CASE("LRNLayer: description") {
  check_description<LRNLayer>();
  CHECK(LRNLayer{"norm", {"x"}} == LRNLayer{"norm", {"x"}, {.local_size = 5}});
  CHECK(lrn() != lrn({.alpha = 2}));
  CHECK(lrn().options_text() == "");
  CHECK(
      lrn({.local_size = 3, .alpha = 5e-5, .norm_region = NormRegion::WithinChannel}).options_text() ==
      "{.local_size = 3, .alpha = 5e-05, .norm_region = NormRegion::WithinChannel}");
  CHECK(to_text(NormRegion::AcrossChannels) == "NormRegion::AcrossChannels");
  CHECK(shape_of(lrn(), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
}

TEST_CASE("LRNLayer: a hand-made case") {
  // Channels 1, 2, 3 of one pixel: sums of squares 5, 14, 13 over the three nearest, beta 1, alpha 3.
  check_equal(
      top_of(lrn({.local_size = 3, .alpha = 3, .beta = 1}), {numbers({1, 3, 1, 1}, {1, 2, 3})}),
      numbers({1, 3, 1, 1}, {1.0 / 6, 2.0 / 15, 3.0 / 14}));
  check_equal(
      top_of(
          lrn({.local_size = 3, .alpha = 9, .beta = 1, .norm_region = NormRegion::WithinChannel}),
          {numbers({1, 1, 1, 3}, {1, 2, 3})}),
      numbers({1, 1, 1, 3}, {1.0 / 6, 2.0 / 15, 3.0 / 14}));
}

TEST_CASE("LRNLayer: values by the definition") {
  const Tensor x = noise({2, 7, 5, 6});
  for (const LRNOptions& options : configurations()) {
    CAPTURE(lrn(options).options_text());
    check_equal(top_of(lrn(options), {x}), reference(options, x), 1e-9);
    check_equal(top_of(lrn(options), {x}, {}, {.phase = Phase::Test}), reference(options, x), 1e-9);
    check_equal(
        top_of(lrn(options), {x}, {}, {.dtype = DType::F32, .threads = 2}),
        reference(options, x).cast(DType::F32),
        1e-5);
  }
}

TEST_CASE("LRNLayer: gradients") {
  for (const LRNOptions& options : configurations()) check_gradients_of(lrn(options), {Shape{2, 6, 3, 4}});
}

TEST_CASE("LRNLayer: messages") {
  const Shape image{2, 3, 4, 5};
  CHECK(refusal(lrn({.local_size = 4}), {image}) == "option .local_size must be odd, not 4");
  CHECK(refusal(lrn({.local_size = -1}), {image}) == "option .local_size must be positive, not -1");
  CHECK(refusal(lrn({.k = 0}), {image}) == "option .k must be positive, not 0");
  CHECK(
      refusal(lrn({.alpha = std::numeric_limits<double>::infinity()}), {image}) ==
      "options .alpha, .beta and .k must be finite");
  CHECK(refusal(lrn(), {{2, 3}}) == "expects an image [N, C, H, W], which has 4 dimensions, not 2");
}
