#include "sparknet/layers/softmax.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam softmax(Dim axis = 1) {
  return SoftmaxLayer{"prob", {"x"}, {.axis = axis}};
}

}  // namespace

TEST_CASE("SoftmaxLayer: description") {
  check_description<SoftmaxLayer>();
  CHECK(SoftmaxLayer{"prob", {"x"}} == SoftmaxLayer{"prob", {"x"}, {.axis = 1}});
  CHECK(softmax(1) != softmax(2));
  CHECK(softmax().options_text() == "");
  CHECK(softmax(-1).options_text() == "{.axis = -1}");
  CHECK(shape_of(softmax(), {{2, 3, 4}}) == Shape{2, 3, 4});
}

TEST_CASE("SoftmaxLayer: a hand-made case") {
  const double ln2 = std::log(2.0), log5 = std::log(5.0);
  check_equal(
      top_of(softmax(), {numbers({2, 3}, {0, ln2, log5, ln2, ln2, ln2})}),
      numbers({2, 3}, {0.125, 0.25, 0.625, 1.0 / 3, 1.0 / 3, 1.0 / 3}));
  // Classes lie `inner` apart.
  check_equal(
      top_of(softmax(), {numbers({1, 2, 2}, {0, 0, ln2, 0})}),
      numbers({1, 2, 2}, {1.0 / 3, 0.5, 2.0 / 3, 0.5}));
  check_equal(top_of(softmax(0), {numbers({2, 2}, {0, 0, 0, ln2})}), numbers({2, 2}, {0.5, 1.0 / 3, 0.5, 2.0 / 3}));
  check_equal(top_of(softmax(-1), {numbers({2, 2}, {0, 0, 0, ln2})}), numbers({2, 2}, {0.5, 0.5, 1.0 / 3, 2.0 / 3}));
}

TEST_CASE("SoftmaxLayer: large scores do not overflow") {
  check_equal(top_of(softmax(), {numbers({1, 2}, {1e4, 1e4})}), numbers({1, 2}, {0.5, 0.5}));
  check_equal(top_of(softmax(), {numbers({1, 2}, {-1e5, 1e5})}), numbers({1, 2}, {0, 1}));
}

TEST_CASE("SoftmaxLayer: gradients") {
  for (const Dim axis : {0, 1, 2, -1}) check_gradients_of(softmax(axis), {Shape{3, 4, 5}});
  check_gradients_of(softmax(), {Shape{2, 10}});
  check_gradients_of(softmax(), {Shape{2, 3, 2, 2}});
}

TEST_CASE("SoftmaxLayer: messages") {
  CHECK(refusal(softmax(2), {{2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(refusal(softmax(-3), {{2, 3}}) == "there is no axis -3 in its input of 2 dimensions");
}
