#include "sparknet/layers/tanh.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

TEST_CASE("TanHLayer") {
  check_plain_description<TanHLayer>();
  const LayerParam layer = TanHLayer{"tanh", {"x"}};
  CHECK(reads(layer) == "top");
  check_equal(top_of(layer, {numbers({3}, {0, kInf, -kInf})}), numbers({3}, {0, 1, -1}));
  check_map(
      layer,
      wide_range(),
      [](long double x) { return std::tanh(x); },
      [](long double x) { return 1 / (std::cosh(x) * std::cosh(x)); });
  check_map_gradients(layer);
}
