#include "sparknet/layers/lstm_unit.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

const LayerParam unit = LSTMUnitLayer{"unit", {"c", "gates", "cont"}};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

TEST_CASE("LSTMUnitLayer: description") {
  static_assert(LayerSpec<LSTMUnitLayer> && std::is_aggregate_v<LSTMUnitLayer>);
  CHECK(LSTMUnitLayer{"unit", {"c", "gates", "cont"}} == LSTMUnitLayer{"unit", {"c", "gates", "cont"}});
  CHECK(LSTMUnitLayer{"unit", {"c", "gates", "cont"}} != LSTMUnitLayer{"unit", {"c", "gates", "other"}});
  CHECK(unit.tops() == std::vector<std::string>{"unit_c", "unit_h"});
  CHECK(with(unit, {.top = {"c1", "h1"}}).tops() == std::vector<std::string>{"c1", "h1"});
  CHECK(unit.infer(std::vector<Shape>{{1, 5, 3}, {1, 5, 12}, {1, 5}}) == std::vector<Shape>{{1, 5, 3}, {1, 5, 3}});
}

TEST_CASE("LSTMUnitLayer: a hand-made case") {
  const double ln3 = std::log(3.0);
  // sigmoid(ln 3) = 3 / 4, sigmoid(-ln 3) = 1 / 4, tanh(ln 3) = 8 / 10: the first sequence begins, the second goes on.
  const Tensor c = numbers({1, 2, 1}, {1000, 2}), cont = numbers({1, 2}, {0, 1});
  const Tensor gates = numbers({1, 2, 4}, {ln3, 0, ln3, ln3, -ln3, ln3, 0, -ln3});
  const double c0 = 0.75 * 0.8, c1 = 0.75 * 2 - 0.25 * 0.8;
  for (const DType dtype : {DType::F32, DType::F64}) {
    const double tolerance = dtype == DType::F32 ? 3e-7 : 1e-12;
    SoloLayer solo = ran(unit, {c, gates, cont}, {}, {.dtype = dtype});
    check_equal(solo.io().top(0), numbers({1, 2, 1}, {c0, c1}).cast(dtype), tolerance);
    check_equal(
        solo.io().top(1),
        numbers({1, 2, 1}, {0.75 * std::tanh(c0), 0.5 * std::tanh(c1)}).cast(dtype),
        tolerance);
  }
}

TEST_CASE("LSTMUnitLayer: all sizes of numbers, on one thread and on several") {
  constexpr Dim batch = 7, hidden = 1031;
  const Tensor c = noise({1, batch, hidden}), gates = noise({1, batch, 4 * hidden}, 2) * 10;
  Tensor cont({1, batch}, DType::F64);
  for (std::size_t n = 0; n < batch; ++n) cont.span<double>()[n] = n % 3 == 0 ? 0 : n % 3 == 1 ? 1 : 0.5;
  Tensor expected_c({1, batch, hidden}, DType::F64), expected_h = expected_c.copy();
  for (Dim n = 0; n < batch; ++n)
    for (Dim d = 0; d < hidden; ++d) {
      const auto gate = [&](Dim k) { return gates.get<double>(0, n, k * hidden + d); };
      const double value =
          cont.get<double>(0, n) * sigmoid(gate(1)) * c.get<double>(0, n, d) + sigmoid(gate(0)) * std::tanh(gate(3));
      expected_c.set<double>(value, 0, n, d);
      expected_h.set<double>(sigmoid(gate(2)) * std::tanh(value), 0, n, d);
    }
  for (const DType dtype : {DType::F32, DType::F64})
    for (const int threads : {1, 3}) {
      SoloLayer solo = ran(unit, {c, gates, cont}, {}, {.dtype = dtype, .threads = threads});
      const double tolerance = dtype == DType::F32 ? 1e-6 : 1e-12;
      CHECK(equal(solo.io().top(0).cast(DType::F64), expected_c, tolerance));
      CHECK(equal(solo.io().top(1).cast(DType::F64), expected_h, tolerance));
    }
}

TEST_CASE("LSTMUnitLayer: numbers that are huge, and none at all") {
  const double inf = INFINITY;
  const Tensor c = numbers({1, 1, 4}, {1, 1, 1, NAN}), cont = numbers({1, 1}, {1});
  const Tensor gates =
      numbers({1, 1, 16}, {1e4, -1e4, inf, 0, 1e4, -1e4, -inf, 0, 1e4, -1e4, inf, 0, 1e4, -1e4, -inf, 0});
  for (const DType dtype : {DType::F32, DType::F64}) {
    SoloLayer solo = ran(unit, {c, gates, cont}, {}, {.dtype = dtype});
    const Tensor top = solo.io().top(0).cast(DType::F64);
    check_equal(top.subarray({0, 0, 0}, {1, 1, 3}).copy(), numbers({1, 1, 3}, {2, 0, -1}), 1e-6);
    CHECK(std::isnan(top.get<double>(0, 0, 3)));
    // A sequence that begins does not care what was before.
    SoloLayer begin = ran(unit, {c, gates, numbers({1, 1}, {0})}, {}, {.dtype = dtype});
    check_equal(begin.io().top(0).cast(DType::F64), numbers({1, 1, 4}, {1, 0, -1, 0}), 1e-6);
    begin.io().top_diff(0).fill(1);
    begin.io().top_diff(1).fill(1);
    begin.backward();
    CHECK(begin.io().bottom_diff(0) == Tensor({1, 1, 4}, dtype));
    CHECK(begin.io().bottom_diff(1).cast(DType::F64).get<double>(0, 0, 7) == 0);
  }
}

TEST_CASE("LSTMUnitLayer: gradients") {
  const Tensor cont = numbers({1, 4}, {1, 0, 1, 0.5});
  check_gradients_of(unit, {Shape{1, 4, 3}, Shape{1, 4, 12}, cont});
  check_gradients_of(unit, {Shape{1, 4, 19}, Shape{1, 4, 76}, cont}, {.threads = 2});
  const SoloLayer solo(unit, {{1, 4, 3}, {1, 4, 12}, {1, 4}}, {});
  CHECK(solo.setup().dead_bottoms == std::vector<std::size_t>{2});
}

TEST_CASE("LSTMUnitLayer: messages") {
  CHECK(refusal(unit, {{5, 3}, {5, 12}, {5}}) == "expects c_prev [1, N, D], not [5, 3]");
  CHECK(refusal(unit, {{2, 5, 3}, {2, 5, 12}, {2, 5}}) == "expects c_prev [1, N, D], not [2, 5, 3]");
  CHECK(
      refusal(unit, {{1, 5, 3}, {1, 5, 9}, {1, 5}}) ==
      "expects the sums for the gates [1, N, 4 D], here [1, 5, 12], because c_prev is [1, 5, 3]; they are [1, 5, 9]");
  CHECK(
      refusal(unit, {{1, 5, 3}, {1, 5, 12}, {5, 1}}) ==
      "expects cont [1, N], here [1, 5], because c_prev is [1, 5, 3]; it is [5, 1]");
}
