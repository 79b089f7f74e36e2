#include "sparknet/layers/reduction.h"

#include <cmath>

#include "layer_test.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam reduction(ReductionOptions options = {}) {
  return ReductionLayer{"sum", {"x"}, options};
}

constexpr Reduction all[] = {Reduction::Sum, Reduction::ASum, Reduction::SumSq, Reduction::Mean};

double reduced(Reduction operation, std::span<const double> x) {
  double sum = 0;
  for (const double v : x)
    sum += operation == Reduction::ASum ? std::abs(v) : operation == Reduction::SumSq ? v * v : v;
  return operation == Reduction::Mean ? sum / static_cast<double>(x.size()) : sum;
}

}  // namespace

TEST_CASE("ReductionLayer: description") {
  check_description<ReductionLayer>();
  CHECK(reduction() == reduction({.operation = Reduction::Sum, .axis = 0, .coeff = 1}));
  CHECK(reduction() != reduction({.axis = 1}));
  CHECK(reduction().options_text() == "");
  CHECK(
      reduction({.operation = Reduction::Mean, .axis = -1, .coeff = 0.5}).options_text() ==
      "{.operation = Reduction::Mean, .axis = -1, .coeff = 0.5}");
  CHECK(to_text(Reduction::ASum) == "Reduction::ASum");
  CHECK(to_text(Reduction::SumSq) == "Reduction::SumSq");
  CHECK(to_text(Reduction::Sum) == "Reduction::Sum");
}

TEST_CASE("ReductionLayer: shapes") {
  CHECK(shape_of(reduction(), {{2, 3, 4, 5}}) == Shape{});
  CHECK(shape_of(reduction({.axis = 1}), {{2, 3, 4, 5}}) == Shape{2});
  CHECK(shape_of(reduction({.axis = -2}), {{2, 3, 4, 5}}) == Shape{2, 3});
}

TEST_CASE("ReductionLayer: hand-made cases") {
  const Tensor x = numbers({2, 3}, {1, -2, 3, -4, 0, 6});
  const auto run = [&](Reduction operation, Dim axis) {
    return top_of(reduction({.operation = operation, .axis = axis, .coeff = 2}), {x});
  };
  check_equal(run(Reduction::Sum, 0), numbers({}, {8}));
  check_equal(run(Reduction::ASum, 0), numbers({}, {32}));
  check_equal(run(Reduction::SumSq, 0), numbers({}, {132}));
  check_equal(run(Reduction::Mean, 0), numbers({}, {8.0 / 6}));
  check_equal(run(Reduction::Sum, 1), numbers({2}, {4, 4}));
  check_equal(run(Reduction::ASum, 1), numbers({2}, {12, 20}));
  check_equal(run(Reduction::SumSq, -1), numbers({2}, {28, 104}));
  check_equal(run(Reduction::Mean, -1), numbers({2}, {4.0 / 3, 4.0 / 3}));
}

TEST_CASE("ReductionLayer: all sizes, on one thread and on several") {
  for (const DType dtype : {DType::F32, DType::F64})
    for (const int threads : {1, 3})
      for (const Shape& shape : {Shape{1, 100'003}, Shape{2, 70'001}, Shape{5, 20'011}, Shape{40'001, 3}, Shape{3, 37}})
        for (const Reduction operation : all) {
          const Tensor x = noise(shape);
          SoloLayer solo =
              ran(reduction({.operation = operation, .axis = 1, .coeff = -0.5}),
                  {x},
                  {},
                  {.dtype = dtype, .threads = threads});
          const auto n = static_cast<std::size_t>(shape[1]);
          Tensor expected({shape[0]}, DType::F64), slopes(shape, DType::F64), dy = noise({shape[0]}, 7);
          const auto all_x = x.span<double>();
          for (std::size_t o = 0; o < static_cast<std::size_t>(shape[0]); ++o) {
            expected.span<double>()[o] = -0.5 * reduced(operation, all_x.subspan(o * n, n));
            for (std::size_t i = o * n; i < (o + 1) * n; ++i) {
              const double slope = operation == Reduction::ASum    ? std::copysign(1.0, all_x[i])
                                   : operation == Reduction::SumSq ? 2 * all_x[i]
                                   : operation == Reduction::Mean  ? 1 / static_cast<double>(n)
                                                                   : 1;
              slopes.span<double>()[i] = -0.5 * slope * dy.span<double>()[o];
            }
          }
          CAPTURE(to_string(shape));
          CAPTURE(to_text(operation));
          CHECK(equal(solo.io().top().cast(DType::F64), expected, dtype == DType::F32 ? 0.02 : 1e-8));
          solo.io().top_diff().copy_from(dy.cast(dtype));
          solo.backward();
          CHECK(equal(solo.io().bottom_diff().cast(DType::F64), slopes, dtype == DType::F32 ? 1e-5 : 1e-12));
        }
}

TEST_CASE("ReductionLayer: the slope of an absolute value at 0 is 0") {
  SoloLayer solo = ran(reduction({.operation = Reduction::ASum}), {numbers({3}, {0, -1, 2})});
  solo.io().top_diff().fill(3);
  solo.backward();
  check_equal(solo.io().bottom_diff(), numbers({3}, {0, -3, 3}));
}

TEST_CASE("ReductionLayer: gradients") {
  for (const Reduction operation : all)
    for (const Dim axis : {0, 1, 2, -1})
      for (const double coeff : {1.0, -2.5})
        check_gradients_of(
            reduction({.operation = operation, .axis = axis, .coeff = coeff}),
            {Shape{2, 3, 4}},
            {.kink = 0, .kink_range = operation == Reduction::ASum ? 1e-3 : -1});
}

TEST_CASE("ReductionLayer: messages") {
  CHECK(refusal(reduction({.axis = 2}), {{2, 3}}) == "there is no axis 2 in its input of 2 dimensions");
  CHECK(refusal(reduction({.coeff = INFINITY}), {{2, 3}}) == "option .coeff must be finite, not inf");
}
