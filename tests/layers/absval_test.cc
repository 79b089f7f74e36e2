#include "sparknet/layers/absval.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

TEST_CASE("AbsValLayer") {
  check_plain_description<AbsValLayer>();
  const LayerParam layer = AbsValLayer{"abs", {"x"}};
  CHECK(reads(layer) == "bottom");
  check_equal(top_of(layer, {numbers({4}, {-2, 0, 0.5, -kInf})}), numbers({4}, {2, 0, 0.5, kInf}));
  check_map(
      layer,
      wide_range(),
      [](long double x) { return std::abs(x); },
      [](long double x) { return x > 0   ? 1
                                 : x < 0 ? -1
                                         : 0; });
  check_map_gradients(layer, {.kink_range = 0.01});
}
