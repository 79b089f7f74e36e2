#include "sparknet/layers/sigmoid.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

TEST_CASE("SigmoidLayer") {
  check_plain_description<SigmoidLayer>();
  const LayerParam layer = SigmoidLayer{"sigmoid", {"x"}};
  CHECK(reads(layer) == "top");
  check_equal(top_of(layer, {numbers({3}, {0, kInf, -kInf})}), numbers({3}, {0.5, 1, 0}));
  check_map(
      layer,
      wide_range(),
      [](long double x) { return 1 / (1 + std::exp(-x)); },
      [](long double x) { return 1 / (2 + std::exp(x) + std::exp(-x)); });
  check_map_gradients(layer);
}
