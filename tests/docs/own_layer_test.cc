// docs/add_a_layer.md shows the regions between `// snippet: NAME` and `// end`.

// snippet: layer
#include <cmath>

#include "sparknet/sparknet.h"

using namespace sparknet;

struct SnakeOptions {
  double a = 1;

  bool operator==(const SnakeOptions&) const = default;
  template <class V>
  static void fields(V&& visit) {
    visit("a", &SnakeOptions::a);
  }
};

/// y = x + sin(ax)^2 / a, element by element.
struct SnakeLayer {
  static constexpr std::string_view type = "SnakeLayer";
  std::string name;
  Inputs<1> bottom;
  SnakeOptions options = {};
  std::optional<Include> include = {};
  Where where = Where::here();

  std::span<const std::string> inputs() const { return bottom.names(); }
  Shape infer(std::span<const Shape> in) const;
  std::unique_ptr<Layer> make() const;
  bool operator==(const SnakeLayer&) const = default;
};
static_assert(LayerSpec<SnakeLayer>);

namespace {

class RunningSnake final : public Layer {
 public:
  explicit RunningSnake(double a) : a_(a) {}

  // backward reads x and not y, so the net may use the memory of y for something else.
  void setup(LayerSetup& setup) override { setup.backward_reads(/*bottoms=*/true, /*tops=*/false); }

  void forward(LayerIO& io) override {
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = io.bottom().span<T>();
      const auto y = io.top().span<T>();
      for (std::size_t i = 0; i < x.size(); ++i)
        y[i] = x[i] + static_cast<T>(std::pow(std::sin(a_ * static_cast<double>(x[i])), 2) / a_);
    });
  }

  void backward(LayerIO& io) override {
    if (!io.needs_bottom_diff()) return;
    dispatch(io.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto x = io.bottom().span<T>();
      const auto dy = io.top_diff().span<T>(), dx = io.bottom_diff().span<T>();
      for (std::size_t i = 0; i < x.size(); ++i)
        dx[i] = dy[i] * static_cast<T>(1 + std::sin(2 * a_ * static_cast<double>(x[i])));
    });
  }

 private:
  double a_;
};

}  // namespace

Shape SnakeLayer::infer(std::span<const Shape> in) const {
  require(std::isfinite(options.a) && options.a != 0, "option .a must be finite and not 0");
  return in[0];
}

std::unique_ptr<Layer> SnakeLayer::make() const {
  return std::make_unique<RunningSnake>(options.a);
}
// end

#include <doctest/doctest.h>

#include <cstring>
#include <limits>

// snippet: net
NetParam snake_net() {
  return NetParam(
      "Snake",
      RDDLayer{"data", {16, 1, 8, 8}},
      RDDLayer{"label", {16, 1}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 4}},
      SnakeLayer{"snake", {"conv"}, {.a = 1.5}},
      InnerProductLayer{"ip", {"snake"}, {.num_output = 10}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}
// end

// snippet: check
TEST_CASE("SnakeLayer: gradients") {
  for (const double a : {0.5, 1.0, 3.0}) {
    const GradientReport report = check_gradients(SnakeLayer{"snake", {"x"}, {.a = a}}, {Shape{2, 3, 4, 5}});
    CHECK_MESSAGE(report.passed, report.text);
  }
}
// end

// snippet: feed
/// Two numbers and whether the first is the larger one: [batch_size, 2] and [batch_size].
struct PairsLayer {
  static constexpr std::string_view type = "PairsLayer";
  std::string name;
  Dim batch_size;
  Where where = Where::here();

  std::span<const std::string> inputs() const { return {}; }
  std::vector<std::string> tops() const { return {name, "label"}; }
  std::vector<Shape> infer(std::span<const Shape>) const { return {{batch_size, 2}, {batch_size}}; }
  std::unique_ptr<Layer> make() const { return nullptr; }  // nothing runs: the net fills the tops from the feed
  LayerFeed feed(Phase phase) const {
    const auto fill = [](Dim index, std::span<std::byte* const> out) {
      const Dim a = index % 7, b = index % 5;
      const float pair[] = {static_cast<float>(a), static_cast<float>(b)}, label = a > b ? 1 : 0;
      std::memcpy(out[0], pair, sizeof pair);
      std::memcpy(out[1], &label, sizeof label);
    };
    return {
        .source = from_callback({{"data", {2}}, {"label", {1}}}, 35, fill),
        .options = {.shuffle = phase == Phase::Train}};
  }
  bool operator==(const PairsLayer&) const = default;
};
// end
static_assert(LayerSpec<PairsLayer>);

TEST_CASE("a layer of one's own that feeds itself") {
  Net net(
      NetParam(
          "pairs",
          PairsLayer{"data", 4},
          InnerProductLayer{"ip", {"data"}, {.num_output = 2}},
          SoftmaxWithLoss{"loss", {"ip", "label"}}),
      {.phase = Phase::Test});
  CHECK(net.is_fed());
  net.forward();
  CHECK(net.blob("data").shape() == Shape{4, 2});
  Solver solver({.base_lr = 0.5, .max_iter = 200}, net.param());
  const double first = solver.step();
  CHECK(solver.step(199) < first);
}

TEST_CASE("a layer of one's own in a net") {
  Net net(snake_net());
  net.set_input("data", Tensor({16, 1, 8, 8}));
  net.set_input("label", Tensor({16, 1}));
  CHECK(net.forward() == doctest::Approx(std::log(10.0)));  // of zeros: all classes are as likely
  net.backward();
  CHECK(to_string(snake_net()).find(R"(SnakeLayer{"snake", {"conv"}, {.a = 1.5}})") != std::string::npos);
  CHECK(snake_net() == snake_net());
}

TEST_CASE("a net with a layer of one's own: gradients") {
  const NetParam net(
      "small",
      RDDLayer{"data", {3, 4}},
      RDDLayer{"label", {3}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = 5}},
      SnakeLayer{"snake", {"ip1"}},
      InnerProductLayer{"ip2", {"snake"}, {.num_output = 3}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
  const GradientReport report = check_gradients(net, {{"label", Tensor::from<float>({3}, {0, 2, 1})}});
  CHECK_MESSAGE(report.passed, report.text);
}

TEST_CASE("a layer of one's own refuses with the net, its name and its line") {
  const int line = __LINE__ + 1;
  const SnakeLayer layer{"snake", {"data"}, {.a = std::numeric_limits<double>::infinity()}};
  CHECK_THROWS_WITH_AS(
      Net(NetParam("Snake", RDDLayer{"data", {2, 3}}, layer)),
      doctest::Contains(
          ("net \"Snake\", layer \"snake\" (SnakeLayer): option .a must be finite and not 0\n  at own_layer_test.cc:" +
           std::to_string(line))
              .c_str()),
      NetError);
}
