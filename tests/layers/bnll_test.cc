#include "sparknet/layers/bnll.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

TEST_CASE("BNLLLayer") {
  check_plain_description<BNLLLayer>();
  const LayerParam layer = BNLLLayer{"bnll", {"x"}};
  CHECK(reads(layer) == "top");
  check_equal(top_of(layer, {numbers({3}, {0, kInf, -kInf})}), numbers({3}, {std::log(2.0), kInf, 0}));
  check_map(
      layer,
      wide_range(),
      [](long double x) { return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))); },
      [](long double x) { return 1 / (1 + std::exp(-x)); });
  check_map_gradients(layer);
}

// Caffe's formula, which limits x to 50 before it takes e^x.
TEST_CASE("BNLLLayer: Caffe's gradient") {
  check_map(
      BNLLLayer{"bnll", {"x"}},
      {-60, -5, 0, 5, 49, 50, 51, 1e3},
      [](long double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); },
      [](long double x) {
        const long double power = std::exp(std::min(x, 50.0L));
        return power / (power + 1);
      });
}
