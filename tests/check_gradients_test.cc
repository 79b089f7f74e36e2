#include "sparknet/check_gradients.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sparknet/layers/convolution.h"
#include "sparknet/layers/dropout.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/lrn.h"
#include "sparknet/layers/pooling.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax.h"
#include "sparknet/layers/softmax_with_loss.h"

using namespace sparknet;

namespace {

/// What a layer's author may get wrong.
enum class Mistake {
  None,
  Factor,       // the gradient of the bottom is twice what it should be
  Offset,       // one number of the gradient of the weights is wrong
  Accumulates,  // overwrites the gradient of the weights where it should add to it
  Unwritten,    // leaves one number of the gradient of the bottom as it is
  Undeclared,   // reads the bottom in backward and says it does not
  Scratch,      // takes scratch memory for state
  InPlace,      // says it can run in place and reads the bottom in backward
  NotANumber,
  Forward,     // leaves one number of the top as it is
  Unasked,     // writes the gradient of the bottom where nobody needs it
  Recomputes,  // says that it can write the top again and does not
};

/// y = w[0] x^2
class RunningSquare final : public Layer {
 public:
  explicit RunningSquare(Mistake mistake) : mistake_(mistake) {}

  void setup(LayerSetup& setup) override {
    setup.param("scale", {2}, Filler::constant(1));
    setup.scratch(sizeof(double));
    setup.backward_reads(mistake_ != Mistake::Undeclared, false);
    if (mistake_ == Mistake::InPlace) setup.in_place();
    if (mistake_ == Mistake::Recomputes) setup.recomputes();
  }

  void forward(LayerIO& io) override {
    const auto x = io.bottom().span<double>();
    const auto y = io.top().span<double>();
    const double scale = io.param(0).get<double>(0);
    for (std::size_t i = mistake_ == Mistake::Forward ? 1 : 0; i < x.size(); ++i) y[i] = scale * x[i] * x[i];
    *reinterpret_cast<double*>(io.scratch()) = 1;
  }

  void recompute(LayerIO&) override {}

  void backward(LayerIO& io) override {
    const auto x = io.bottom().span<double>();
    const auto dy = io.top_diff().span<double>();
    const double scale = io.param(0).get<double>(0);
    if (io.needs_bottom_diff() || mistake_ == Mistake::Unasked) {
      const auto dx = io.bottom_diff().span<double>();
      for (std::size_t i = 0; i < x.size(); ++i)
        if (mistake_ != Mistake::Unwritten || i != 2)
          dx[i] = dy[i] * scale * x[i] * (mistake_ == Mistake::Factor ? 4 : 2);
      if (mistake_ == Mistake::Scratch) dx[0] *= *reinterpret_cast<double*>(io.scratch());
    }
    if (!io.needs_param_diff(0)) return;
    double gradient = 0;
    for (std::size_t i = 0; i < x.size(); ++i) gradient += dy[i] * x[i] * x[i];
    if (mistake_ == Mistake::NotANumber) gradient = std::numeric_limits<double>::quiet_NaN();
    const auto dw = io.param_diff(0).span<double>();
    const bool add = io.accumulate() && mistake_ != Mistake::Accumulates;
    dw[0] = gradient + (add ? dw[0] : 0);
    dw[1] = (mistake_ == Mistake::Offset ? 0.01 : 0) + (add ? dw[1] : 0);
  }

 private:
  Mistake mistake_;
};

struct SquareLayer {
  static constexpr std::string_view type = "SquareLayer";
  std::string name;
  Inputs<1> bottom;
  Mistake mistake;
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const {
    require(in[0].size() == 2, "expects a matrix");
    return in[0];
  }
  std::unique_ptr<Layer> make() const { return std::make_unique<RunningSquare>(mistake); }
  bool operator==(const SquareLayer&) const = default;
};

GradientReport check_square(Mistake mistake, const GradientCheckOptions& options = {}) {
  return check_gradients(SquareLayer{"square", {"x"}, mistake}, {Shape{2, 3}}, options);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("check_gradients: a layer without mistakes passes") {
  const GradientReport report = check_square(Mistake::None);
  CHECK_MESSAGE(report.passed, report.text);
  CHECK(report.worst_error < 1e-8);
  CHECK(contains(report.text, "SquareLayer \"square\": passed, 8 numbers compared, worst error "));
}

TEST_CASE("check_gradients: names what is wrong, with both numbers") {
  GradientReport report = check_square(Mistake::Factor, {.values = Filler::constant(10)});
  CHECK_FALSE(report.passed);
  CHECK(report.worst_error == doctest::Approx(0.5));
  CHECK(contains(
      report.text,
      "SquareLayer \"square\": 6 failures, 8 numbers compared, worst error 0.5 in gradient of bottom \"x\" ["));
  CHECK(contains(report.text, "\n  gradient of bottom \"x\" [0, 0]: analytic "));
  CHECK(contains(report.text, ", numeric "));

  report = check_square(Mistake::Offset);
  CHECK_FALSE(report.passed);
  CHECK(contains(report.worst, "gradient of scale [1]: analytic 0.01, numeric 0"));
}

TEST_CASE("check_gradients: a gradient that is not a number fails") {
  const GradientReport report = check_square(Mistake::NotANumber);
  CHECK_FALSE(report.passed);
  CHECK(std::isnan(report.worst_error));
}

TEST_CASE("check_gradients: holds a layer to the contract") {
  GradientReport report = check_square(Mistake::Accumulates);
  CHECK_FALSE(report.passed);
  CHECK(contains(report.text, "scale, whose gradient is to be added to where accumulate(), [0]: "));
  for (const Mistake mistake : {Mistake::Unwritten, Mistake::Undeclared, Mistake::Scratch, Mistake::Forward}) {
    CAPTURE(static_cast<int>(mistake));
    CHECK_FALSE(check_square(mistake).passed);
  }
  report = check_square(Mistake::Unasked);
  CHECK_FALSE(report.passed);
  CHECK(contains(report.text, "where a bottom does not learn: "));
  report = check_square(Mistake::InPlace);
  CHECK_FALSE(report.passed);
  CHECK(contains(report.text, "in place of \"x\", gradient of "));
  report = check_square(Mistake::Recomputes);
  CHECK_FALSE(report.passed);
  CHECK(contains(report.text, "recomputed, top 0 "));
}

TEST_CASE("check_gradients: the kink region is left out") {
  const GradientCheckOptions everywhere{.values = Filler::constant(0)};
  CHECK_FALSE(check_gradients(ReLULayer{"relu", {"x"}}, {Shape{4}}, everywhere).passed);
  GradientCheckOptions around = everywhere;
  around.kink_range = 0.01;
  const GradientReport report = check_gradients(ReLULayer{"relu", {"x"}}, {Shape{4}}, around);
  CHECK(report.passed);
  CHECK(contains(report.text, " 0 numbers compared"));
  around.kink = 1;
  CHECK_FALSE(check_gradients(ReLULayer{"relu", {"x"}}, {Shape{4}}, around).passed);
  around.values = Filler::constant(-0.995);
  CHECK(contains(check_gradients(ReLULayer{"relu", {"x"}}, {Shape{4}}, around).text, " 0 numbers compared"));
}

TEST_CASE("check_gradients: a layer that refuses is an error, not a failure") {
  CHECK_THROWS_WITH_AS(
      check_gradients(SquareLayer{"square", {"x"}, Mistake::None}, {Shape{2, 3, 4}}),
      doctest::Contains("layer \"square\" (SquareLayer): expects a matrix\n  at check_gradients_test.cc:"),
      NetError);
  CHECK_THROWS_WITH_AS(
      check_gradients(SquareLayer{"square", {"x"}, Mistake::None}, {}),
      doctest::Contains("reads 1 blobs and was given 0"),
      NetError);
  CHECK_THROWS_WITH_AS(
      check_gradients(SoftmaxWithLoss{"loss", {"x", "label"}}, {Shape{2, 3}, Tensor::from<float>({2}, {1, 3})}),
      doctest::Contains("the label of example 1 is 3 and there are 3 classes"),
      NetError);
  CHECK_THROWS_WITH_AS(
      check_gradients(RDDLayer{"data", {2, 3}}, {}),
      doctest::Contains("is an input, which is filled from outside of the net"),
      NetError);
}

TEST_CASE("check_gradients: a ReLU to fuse with a layer that cannot is a failure") {
  const GradientReport report = check_gradients(SoftmaxLayer{"prob", {"x"}}, {Shape{2, 3}}, {.fuse = FusedReLU{}});
  CHECK_FALSE(report.passed);
  CHECK(contains(report.text, "the layer does not take over a ReLU"));
}

TEST_CASE("check_gradients: a whole net, as it is planned for training") {
  const auto head = [] {
    return NetParam(
        "small",
        RDDLayer{"data", {2, 2, 6, 6}},
        RDDLayer{"label", {2}},
        ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 3}},
        ReLULayer{"relu", {"conv"}, {.negative_slope = 0.1}},
        LRNLayer{"norm", {"relu"}, {.local_size = 3}},
        PoolingLayer{"pool", {"norm"}, {.kernel = 2, .stride = 2}},
        DropoutLayer{"drop", {"pool"}},
        InnerProductLayer{"ip", {"drop"}, {.num_output = 4}});
  };
  NetParam net = head();
  net.add(SoftmaxWithLoss{"loss", {"ip", "label"}});
  const GradientReport report = check_gradients(net, {{"label", Tensor::from<float>({2}, {3, 1})}});
  CHECK_MESSAGE(report.passed, report.text);
  CHECK(contains(report.text, "net \"small\": passed, 109 numbers compared"));

  const GradientReport lossless = check_gradients(head());
  CHECK_FALSE(lossless.passed);
  CHECK(contains(lossless.text, "all gradients are 0: the net has no loss"));

  CHECK_THROWS_AS(check_gradients(net, {{"labels", Tensor({2})}}), NetError);
}
