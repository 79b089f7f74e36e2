// docs/add_a_layer.md shows the regions between `// snippet: NAME` and `// end`.

// snippet: layer
#include <cmath>

#include "sparknet/sparknet.h"

using namespace sparknet;

struct SwishOptions {
  double beta = 1;

  bool operator==(const SwishOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    visit("beta", &SwishOptions::beta);
  }
};

/// y = x / (1 + e^(-beta x)), element by element.
struct SwishLayer {
  static constexpr std::string_view type = "SwishLayer";
  std::string name;
  Inputs<1> bottom;
  SwishOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SwishLayer&) const = default;
};
static_assert(LayerSpec<SwishLayer>);

namespace {

class RunningSwish final : public Layer {
 public:
  explicit RunningSwish(double beta) : beta_(beta) {}

  // backward reads x and not y, so the net may use the memory of y for something else.
  void setup(LayerSetup& setup) override { setup.backward_reads(/*bottoms=*/true, /*tops=*/false); }

  void forward(LayerIO& io) override {
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = io.bottom().span<T>();
      const auto y = io.top().span<T>();
      for (std::size_t i = 0; i < x.size(); ++i)
        y[i] = static_cast<T>(static_cast<double>(x[i]) * sigmoid(static_cast<double>(x[i])));
    });
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = io.bottom().span<T>();
      const auto dy = io.top_diff().span<T>(), dx = io.bottom_diff().span<T>();
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double value = static_cast<double>(x[i]), s = sigmoid(value);
        dx[i] = static_cast<T>(static_cast<double>(dy[i]) * (s + beta_ * value * s * (1 - s)));
      }
    });
  }

 private:
  double sigmoid(double x) const { return 1 / (1 + std::exp(-beta_ * x)); }

  double beta_;
};

}  // namespace

Shape SwishLayer::infer(std::span<const Shape> in) const {
  require(std::isfinite(options.beta), "option .beta must be finite");
  return in[0];
}

std::unique_ptr<Layer> SwishLayer::make() const {
  return std::make_unique<RunningSwish>(options.beta);
}
// end

#include <doctest/doctest.h>

#include <limits>

// snippet: net
NetParam swish_net() {
  return NetParam(
      "Swish",
      RDDLayer{"data", {16, 1, 8, 8}},
      RDDLayer{"label", {16, 1}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 4}},
      SwishLayer{"swish", {"conv"}, {.beta = 1.5}},
      InnerProductLayer{"ip", {"swish"}, {.num_output = 10}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}
// end

// snippet: check
TEST_CASE("SwishLayer: gradients") {
  for (const double beta : {0.5, 1.0, 3.0}) {
    const GradientReport report = check_gradients(SwishLayer{"swish", {"x"}, {.beta = beta}}, {Shape{2, 3, 4, 5}});
    CHECK_MESSAGE(report.passed, report.text);
  }
}
// end

TEST_CASE("a layer of one's own in a net") {
  Net net(swish_net());
  net.set_input("data", Tensor({16, 1, 8, 8}));
  net.set_input("label", Tensor({16, 1}));
  CHECK(net.forward() == doctest::Approx(std::log(10.0)));  // of zeros: all classes are as likely
  net.backward();
  CHECK(to_string(swish_net()).find(R"(SwishLayer{"swish", {"conv"}, {.beta = 1.5}})") != std::string::npos);
  CHECK(swish_net() == swish_net());
}

TEST_CASE("a net with a layer of one's own: gradients") {
  const NetParam net(
      "small",
      RDDLayer{"data", {3, 4}},
      RDDLayer{"label", {3}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = 5}},
      SwishLayer{"swish", {"ip1"}},
      InnerProductLayer{"ip2", {"swish"}, {.num_output = 3}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
  const GradientReport report = check_gradients(net, {{"label", Tensor::from<float>({3}, {0, 2, 1})}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("a layer of one's own refuses with the net, its name and its line") {
  const int line = __LINE__ + 1;
  const SwishLayer layer{"swish", {"data"}, {.beta = std::numeric_limits<double>::infinity()}};
  CHECK_THROWS_WITH_AS(
      Net(NetParam("Swish", RDDLayer{"data", {2, 3}}, layer)),
      doctest::Contains(
          ("net \"Swish\", layer \"swish\" (SwishLayer): option .beta must be finite\n  at own_layer_test.cc:" +
           std::to_string(line))
              .c_str()),
      NetError);
}
