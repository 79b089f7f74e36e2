#include "sparknet/layers/elu.h"

#include "map_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam elu(double alpha = 1) {
  return ELULayer{"elu", {"x"}, {.alpha = alpha}};
}

}  // namespace

TEST_CASE("ELULayer: description") {
  check_description<ELULayer>();
  CHECK(ELULayer{"elu", {"x"}} == ELULayer{"elu", {"x"}, {.alpha = 1}});
  CHECK(elu() != elu(0.5));
  CHECK(elu().options_text() == "");
  CHECK(elu(0.5).options_text() == "{.alpha = 0.5}");
  CHECK(shape_of(elu(), {{2, 3, 4}}) == Shape{2, 3, 4});
  CHECK(refusal(elu(kNan), {{2}}) == "option .alpha must be finite, not nan");
}

TEST_CASE("ELULayer: values and gradients, from the top where it tells the sign") {
  check_equal(top_of(elu(2), {numbers({4}, {-kInf, 0, 3, kInf})}), numbers({4}, {-2, 0, 3, kInf}));
  for (const double alpha : {1.0, 0.5, 0.0, 2.0, -0.5}) {
    check_map(
        elu(alpha),
        wide_range(),
        [=](long double x) { return x > 0 ? x : alpha * std::expm1(x); },
        [=](long double x) { return x > 0 ? 1 : alpha * std::exp(x); });
    check_map_gradients(elu(alpha), {.kink_range = 0.01});
    CHECK(reads(elu(alpha)) == (alpha < 0 ? "bottom" : "top"));
  }
}
