// What a layer is told beside its own options, by `with`, in nets that run.
#include <doctest/doctest.h>

#include <cmath>

#include "sparknet/check_gradients.h"
#include "sparknet/layers/concat.h"
#include "sparknet/layers/eltwise.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/power.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/relu.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "sparknet/net.h"
#include "sparknet/solver.h"
#include "tests/message_of.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

const NetOptions f64{.dtype = DType::F64, .threads = 1};

Tensor ramp(const Shape& shape, double step = 0.1) {
  Tensor values(shape, DType::F64);
  const auto x = values.span<double>();
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = step * (static_cast<double>(i % 11) - 4.7);
  return values;
}

/// Two arms over two inputs, whose first layers have weights of the given specs, and a loss on both.
NetParam siamese(
    std::vector<ParamSpec> left, std::vector<ParamSpec> right, InnerProductOptions options = {.num_output = 4}) {
  return NetParam(
      "siamese",
      RDDLayer{"a", {3, 5}},
      RDDLayer{"b", {3, 5}},
      RDDLayer{"label", {3}},
      with(InnerProductLayer{"left", {"a"}, options}, {.param = std::move(left)}),
      ReLULayer{"left_relu", {"left"}},
      with(InnerProductLayer{"right", {"b"}, options}, {.param = std::move(right)}),
      ReLULayer{"right_relu", {"right"}},
      ConcatLayer{"both", {"left_relu", "right_relu"}},
      InnerProductLayer{"scores", {"both"}, {.num_output = 3}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
}

void give(Net& net) {
  net.set_input("a", ramp({3, 5}));
  net.set_input("b", ramp({3, 5}, -0.23));
  net.set_input("label", Tensor(Shape{3}, DType::F64));
}

std::size_t index_of(const Net& net, const std::string& full_name) {
  for (std::size_t i = 0; i < net.params().size(); ++i)
    if (net.params()[i].full_name() == full_name) return i;
  FAIL("no parameter " << full_name);
  return 0;
}

Tensor gradient_of(Net& net, const std::string& full_name) {
  const ParamInfo& info = net.params()[index_of(net, full_name)];
  return net.gradient_arena().subarray(Shape{info.offset}, Shape{info.offset + info.shape.count()});
}

void check_close(const Tensor& a, const Tensor& b, double tolerance = 1e-13) {
  REQUIRE(a.count() == b.count());
  const Tensor x = a.flatten(), y = b.flatten();
  for (Dim i = 0; i < x.count(); ++i) CHECK(std::abs(x.get<double>(i) - y.get<double>(i)) <= tolerance);
}

/// y = 2 x, and a mask of as many elements: a layer of two tops.
struct RunningTwins final : Layer {
  void setup(LayerSetup& setup) override { setup.backward_reads(false, false); }
  void forward(LayerIO& io) override {
    for (std::size_t t = 0; t < 2; ++t) {
      const std::span<const double> x = io.bottom().span<double>();
      const std::span<double> y = io.top(t).span<double>();
      for (std::size_t i = 0; i < x.size(); ++i) y[i] = (2 + static_cast<double>(t)) * x[i];
    }
  }
  void backward(LayerIO& io) override {
    const auto a = io.top_diff(0).span<double>(), b = io.top_diff(1).span<double>();
    const auto dx = io.bottom_diff().span<double>();
    for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = 2 * a[i] + 3 * b[i];
  }
};
struct TwinsLayer {
  static constexpr std::string_view type = "TwinsLayer";
  std::string name;
  Inputs<1> bottom;
  Where where = Where::here();
  std::vector<std::string> tops() const { return {name, name + "_2"}; }
  std::span<const std::string> inputs() const { return bottom.names(); }
  std::vector<Shape> infer(std::span<const Shape> in) const { return {in[0], in[0]}; }
  std::unique_ptr<Layer> make() const { return std::make_unique<RunningTwins>(); }
  bool operator==(const TwinsLayer&) const = default;
};

/// Examples 0, 1, 2, ... of a source that the layer brings along.
struct CountingLayer {
  static constexpr std::string_view type = "CountingLayer";
  std::string name;
  Dim batch, size = 10;
  int columns = 2;
  bool shuffle = false;
  Where where = Where::here();
  std::vector<std::string> tops() const { return {name, "label"}; }
  std::span<const std::string> inputs() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape>) const { return {{batch, 2}, {batch}}; }
  std::unique_ptr<Layer> make() const { return nullptr; }
  std::optional<LayerFeed> feed(Phase phase) const {
    std::vector<Column> made{{"pixels", {2}, DType::F64}, {"answer", {1}, DType::F64}};
    made.resize(static_cast<std::size_t>(columns));
    return LayerFeed{
        from_callback(
            made,
            size,
            [](Dim index, std::span<std::byte* const> out) {
              auto* pixels = reinterpret_cast<double*>(out[0]);
              pixels[0] = static_cast<double>(index), pixels[1] = -static_cast<double>(index);
              if (out.size() > 1) *reinterpret_cast<double*>(out[1]) = static_cast<double>(index % 2);
            }),
        {.shuffle = shuffle, .random = phase == Phase::Train, .prefetch = 0}};
  }
  bool operator==(const CountingLayer&) const = default;
};

}  // namespace

TEST_CASE("shared parameters are one: their gradient is the sum of what each use adds") {
  Net shared(siamese({{"w"}, {"b"}}, {{"w"}, {"b"}}), f64), apart(siamese({}, {}), f64);
  CHECK(shared.params().size() == 4);
  CHECK(apart.params().size() == 6);
  const SharedParam weights{"right", "weights", 0, {4, 5}, index_of(shared, "left.weights")};
  const SharedParam bias{"right", "bias", 1, {4}, index_of(shared, "left.bias")};
  CHECK(shared.shared_params() == std::vector{weights, bias});
  CHECK(apart.shared_params().empty());

  // The same numbers in both arms of the other net.
  WeightCollection values = apart.weights();
  for (const ParamInfo& info : shared.params())
    values.tensor(index_of(apart, info.full_name()))
        .copy_from(shared.weights().tensor(index_of(shared, info.full_name())));
  for (const char* name : {"weights", "bias"})
    values.tensor(index_of(apart, std::string("right.") + name))
        .copy_from(values.tensor(index_of(apart, std::string("left.") + name)));
  apart.set_weights(values);
  give(shared);
  give(apart);
  for (int pass = 0; pass < 2; ++pass) {  // and once more, added
    CHECK(shared.forward() == apart.forward());
    shared.backward();
    apart.backward();
    for (const std::string name : {"weights", "bias"}) {
      const Tensor left = gradient_of(apart, "left." + name), right = gradient_of(apart, "right." + name);
      check_close(gradient_of(shared, "left." + name), left + right);
    }
    check_close(gradient_of(shared, "scores.weights"), gradient_of(apart, "scores.weights"));
  }
}

TEST_CASE("gradients of nets that share some parameters of a layer, or all, or one within a layer") {
  const std::map<std::string, Tensor> inputs{
      {"a", ramp({3, 5})},
      {"b", ramp({3, 5}, -0.23)},
      {"label", Tensor(Shape{3}, DType::F64)}};
  for (const auto& [left, right] : std::vector<std::pair<std::vector<ParamSpec>, std::vector<ParamSpec>>>{
           {{{"w"}, {"b"}}, {{"w"}, {"b"}}},
           {{{"w"}}, {{"w"}}},
           {{{}, {"b"}}, {{}, {"b"}}}}) {
    const GradientReport report = check_gradients(siamese(left, right), inputs);
    CHECK_MESSAGE(report.passed, report.text);
  }
  // 5 inputs and 1 output: weights [1, 5] and, of another layer, [5, 1].
  NetParam loop(
      "loop",
      RDDLayer{"a", {3, 5}},
      RDDLayer{"b", {3, 5}},
      RDDLayer{"label", {3}},
      with(InnerProductLayer{"down", {"a"}, {.num_output = 1}}, {.param = {{.name = "w"}}}),
      with(
          InnerProductLayer{"up", {"down"}, {.num_output = 5}},
          {.param = {{.name = "w", .share_mode = ShareMode::Permissive}}}),
      EltwiseLayer{"sum", {"up", "b"}},
      SoftmaxWithLoss{"loss", {"sum", "label"}});
  const GradientReport report = check_gradients(loop, inputs);
  CHECK_MESSAGE(report.passed, report.text);
  CHECK(Net(loop, f64).shared_params().at(0).shape == Shape{5, 1});
}

TEST_CASE("gradients of shared parameters begin anew once they were used") {
  Net net(siamese({{"w"}}, {{"w"}}), f64);
  give(net);
  net.forward();
  net.backward();
  const Tensor first = net.gradient_arena().copy();
  net.clear_gradients();
  net.forward();
  net.backward();
  check_close(net.gradient_arena(), first);
}

TEST_CASE("a solver trains shared parameters, a test net has them, and a snapshot brings them back") {
  const NetParam param = siamese({{"w"}, {"b"}}, {{"w"}, {"b"}});
  Solver solver({.base_lr = 0.1, .momentum = 0.9}, param, f64);
  give(solver.net());
  const double first = solver.step(), last = solver.step(50);
  CHECK(last < 0.5 * first);
  give(solver.test_net());
  CHECK(solver.test_net().params().size() == 4);
  CHECK(solver.test_net().param_arena().raw() == solver.net().param_arena().raw());

  // A test net of other layers finds them by the name they share.
  Net half(
      NetParam(
          "half",
          RDDLayer{"b", {3, 5}},
          with(InnerProductLayer{"right", {"b"}, {.num_output = 4}}, {.param = {{"w"}, {"b"}}})),
      {.phase = Phase::Test, .dtype = DType::F64, .threads = 1},
      solver.net());
  const std::size_t at = index_of(solver.net(), "left.weights");
  CHECK(half.weights().tensor(0).get<double>(0, 0) == solver.net().weights().tensor(at).get<double>(0, 0));
}

TEST_CASE("what does not go together in shared parameters") {
  const std::vector<ParamSpec> none;
  const auto refusal =
      [](std::vector<ParamSpec> left, std::vector<ParamSpec> right, InnerProductOptions options = {.num_output = 4}) {
        return message_of([&] { Net(siamese(std::move(left), std::move(right), std::move(options)), f64); });
      };
  std::string text = refusal({{"x"}, {"x"}}, none);
  CHECK(text.find("layer \"left\"") != std::string::npos);
  CHECK(
      text.find("has the shape [4] for its \"bias\", which is \"x\" as left.weights is, of shape [4, 5]") !=
      std::string::npos);
  text = refusal({{"w"}, {"b"}, {"c"}}, none);
  CHECK(text.find("has 2 parameters, and something is said of 3") != std::string::npos);
  text = refusal({{.name = "w", .lr_mult = 2.0}}, {{.name = "w", .lr_mult = 3.0}});
  CHECK(
      text.find(
          "has lr_mult 3 and decay_mult 1 for its \"weights\", which is \"w\" as left.weights is, with 2 and 1") !=
      std::string::npos);
  text = refusal({{.lr_mult = 2.0}}, none, {.num_output = 4, .lr_mult = {3, 1}});
  CHECK(text.find("has the lr_mult 3 for its \"weights\", and is told 2 beside") != std::string::npos);
  text = refusal({{.decay_mult = std::nan("")}}, none);
  CHECK(text.find("has the decay_mult nan for its \"weights\"") != std::string::npos);
  CHECK(refusal({{"w"}}, {{.name = "w", .lr_mult = 3.0}}) == "nothing was thrown");
  Net later(siamese({{"w"}}, {{.name = "w", .lr_mult = 3.0}}), f64);
  CHECK(later.params()[index_of(later, "left.weights")].lr_mult == 3);
  Net said(siamese({{.lr_mult = 2.0, .decay_mult = 0.0}}, {}), f64);
  CHECK(said.params()[0].lr_mult == 2);
  CHECK(said.params()[0].decay_mult == 0);

  text = message_of([] {
    Net(NetParam(
            "n",
            RDDLayer{"a", {3, 5}},
            with(InnerProductLayer{"down", {"a"}, {.num_output = 1}}, {.param = {{.name = "w"}}}),
            with(InnerProductLayer{"up", {"down"}, {.num_output = 5}}, {.param = {{.name = "w"}}})),
        f64);
  });
  CHECK(text.find("ShareMode::Permissive wants equal counts only") != std::string::npos);
}

TEST_CASE("loss weights: of any top, for every element, and instead of the layer's own") {
  // loss = 0.5 * sum(2 x) - 0.25 * sum(3 x), of x = w a + b
  const NetParam param(
      "weighted",
      RDDLayer{"a", {2, 3}},
      InnerProductLayer{"x", {"a"}, {.num_output = 2}},
      with(TwinsLayer{"twins", {"x"}}, {.loss_weight = {0.5, -0.25}}));
  Net net(param, f64);
  const Tensor a = ramp({2, 3});
  net.set_input("a", a);
  const double loss = net.forward();
  double sum = 0;
  const Tensor x = net.blob("twins").flatten();
  for (Dim i = 0; i < x.count(); ++i) sum += x.get<double>(i) / 2;
  CHECK(loss == doctest::Approx(0.25 * sum));
  net.backward();
  for (Dim i = 0; i < 2; ++i) CHECK(gradient_of(net, "x.bias").get<double>(i) == doctest::Approx(2 * 0.25));

  const GradientReport report = check_gradients(
      NetParam(
          "more",
          RDDLayer{"a", {2, 3}},
          RDDLayer{"label", {2}},
          with(InnerProductLayer{"x", {"a"}, {.num_output = 2}}, {.loss_weight = {0.3}}),
          with(TwinsLayer{"twins", {"x"}}, {.top = {"one", "two"}, .loss_weight = {0, 0.7}}),
          with(ReLULayer{"relu", {"one"}}, {.loss_weight = {-0.2}}),
          with(SoftmaxWithLoss{"loss", {"relu", "label"}}, {.loss_weight = {2.0}})),
      {{"label", Tensor(Shape{2}, DType::F64)}, {"a", a}});
  CHECK_MESSAGE(report.passed, report.text);

  const std::string text = message_of([] {
    Net(NetParam("n", with(RDDLayer{"a", {2, 3}}, {.loss_weight = {1.0}})), f64);
  });
  CHECK(text.find("is an input and cannot be a loss") != std::string::npos);
  CHECK(
      Net(NetParam("n", RDDLayer{"a", {2, 3}}, with(TwinsLayer{"t", {"a"}}, {.loss_weight = {0, 0}})), f64)
          .outputs()
          .size() == 2);
}

TEST_CASE("propagate_down keeps a gradient from a bottom, or asks for one") {
  const auto net_of = [](std::vector<bool> first, std::vector<bool> last, bool force) {
    NetParam param(
        "net",
        RDDLayer{"a", {2, 3}},
        RDDLayer{"label", {2}},
        with(InnerProductLayer{"x", {"a"}, {.num_output = 4}}, {.propagate_down = std::move(first)}),
        ReLULayer{"relu", {"x"}},
        with(InnerProductLayer{"y", {"relu"}, {.num_output = 2}}, {.propagate_down = std::move(last)}),
        SoftmaxWithLoss{"loss", {"y", "label"}});
    param.force_backward = force;
    Net net(param, f64);
    net.set_input("a", ramp({2, 3}));
    net.set_input("label", Tensor(Shape{2}, DType::F64));
    net.forward();
    net.gradient_arena().fill(0);
    net.backward();
    return net;
  };
  const auto is_zero = [](const Tensor& values) {
    for (Dim i = 0; i < values.count(); ++i)
      if (values.get<double>(i) != 0) return false;
    return true;
  };
  Net plain = net_of({}, {}, false), cut = net_of({}, {false}, false), asked = net_of({true}, {}, false),
      forced = net_of({}, {}, true);
  CHECK_FALSE(is_zero(gradient_of(plain, "x.weights")));
  CHECK(message_of([&] { plain.blob_diff("a"); }).find("is not computed") != std::string::npos);
  CHECK(is_zero(gradient_of(cut, "x.weights")));
  check_close(gradient_of(cut, "y.weights"), gradient_of(plain, "y.weights"));
  CHECK_FALSE(is_zero(asked.blob_diff("a").flatten()));
  check_close(asked.blob_diff("a"), forced.blob_diff("a"));
  check_close(gradient_of(forced, "x.weights"), gradient_of(plain, "x.weights"));
  CHECK(message_of([&] { forced.blob_diff("label"); }).find("is not computed") != std::string::npos);

  const std::string text = message_of([] {
    Net(NetParam(
            "n",
            RDDLayer{"a", {2, 3}},
            RDDLayer{"label", {2}},
            with(SoftmaxWithLoss{"loss", {"a", "label"}}, {.propagate_down = {true, true}})),
        f64);
  });
  CHECK(text.find("has no gradient for its input \"label\", and propagate_down asks for it") != std::string::npos);
}

TEST_CASE("fusion and running in place change nothing beside loss weights and propagate_down") {
  const auto net_of = [](LayerExtras x, LayerExtras relu, LayerExtras power) {
    return NetParam(
        "net",
        RDDLayer{"a", {2, 3}},
        RDDLayer{"label", {2}},
        InnerProductLayer{"w", {"a"}, {.num_output = 3}},
        with(InnerProductLayer{"x", {"w"}, {.num_output = 4}}, std::move(x)),
        with(ReLULayer{"relu", {"x"}, {.negative_slope = 0.1}}, std::move(relu)),
        with(PowerLayer{"power", {"relu"}, {.scale = 2, .shift = 1}}, std::move(power)),
        InnerProductLayer{"y", {"power"}, {.num_output = 2}},
        SoftmaxWithLoss{"loss", {"y", "label"}});
  };
  const LayerExtras loss{.loss_weight = {0.5}}, cut{.propagate_down = {false}};
  for (const NetParam& param :
       {net_of(loss, {}, {}),
        net_of({}, loss, {}),
        net_of({}, {}, loss),
        net_of(loss, loss, loss),
        net_of({}, cut, {}),
        net_of({}, {}, cut)}) {
    Net planned(param, f64);
    Net plain(
        param,
        {.dtype = DType::F64,
         .threads = 1,
         .fuse = false,
         .share_memory = false,
         .keep = {"w", "x", "relu", "power", "y"}});
    for (Net* net : {&planned, &plain}) {
      net->set_input("a", ramp({2, 3}));
      net->set_input("label", Tensor(Shape{2}, DType::F64));
    }
    CHECK(planned.forward() == doctest::Approx(plain.forward()).epsilon(1e-12));
    planned.backward();
    plain.backward();
    check_close(planned.gradient_arena(), plain.gradient_arena());
  }
}

TEST_CASE("tops with the name of their bottom, as in Caffe's nets") {
  const auto net_of = [](bool caffe) {
    const auto in_place = [&](LayerParam layer, const char* top) {
      return caffe ? with(std::move(layer), {.top = {top}}) : layer;
    };
    NetParam net(caffe ? "net" : "net", RDDLayer{"a", {2, 3}}, RDDLayer{"label", {2}});
    net.add(InnerProductLayer{"x", {"a"}, {.num_output = 4}});
    net.add(in_place(ReLULayer{"relu", {"x"}, {.negative_slope = 0.1}}, "x"));
    net.add(in_place(PowerLayer{"twice", {caffe ? "x" : "relu"}, {.scale = 2}}, "x"));
    net.add(InnerProductLayer{"y", {caffe ? "x" : "twice"}, {.num_output = 2}});
    net.add(SoftmaxWithLoss{"loss", {"y", "label"}});
    return net;
  };
  Net ours(net_of(false), f64), caffes(net_of(true), f64);
  for (Net* net : {&ours, &caffes}) {
    net->set_input("a", ramp({2, 3}));
    net->set_input("label", Tensor(Shape{2}, DType::F64));
  }
  CHECK(ours.forward() == caffes.forward());
  ours.backward();
  caffes.backward();
  CHECK(ours.weights() == caffes.weights());
  check_close(ours.gradient_arena(), caffes.gradient_arena(), 0);
  CHECK(caffes.blob_names() == std::vector<std::string>{"a", "label", "x", "y", "loss"});
  Net kept(net_of(true), {.dtype = DType::F64, .threads = 1, .keep = {"x"}});
  Net kept_ours(net_of(false), {.dtype = DType::F64, .threads = 1, .keep = {"twice"}});
  for (Net* net : {&kept, &kept_ours}) {
    net->set_input("a", ramp({2, 3}));
    net->set_input("label", Tensor(Shape{2}, DType::F64));
    net->forward();
  }
  check_close(kept.blob("x"), kept_ours.blob("twice"), 0);  // what later layers read by the name
}

TEST_CASE("levels and stages choose layers") {
  const NetParam param(
      "net",
      RDDLayer{"a", {2, 3}},
      with(PowerLayer{"deep", {"a"}}, {.include = {{.min_level = 2}}}),
      with(PowerLayer{"deploy", {"a"}}, {.include = {{.stage = {"deploy"}}}}),
      with(PowerLayer{"no_deploy", {"a"}}, {.exclude = {{.phase = Phase::Test, .stage = {"deploy"}}}}));
  const auto names = [&](NetOptions options) {
    options.threads = 1;
    return Net(param, options).blob_names();
  };
  CHECK(names({}) == std::vector<std::string>{"a", "no_deploy"});
  CHECK(names({.level = 2}) == std::vector<std::string>{"a", "deep", "no_deploy"});
  CHECK(names({.stages = {"x", "deploy"}}) == std::vector<std::string>{"a", "deploy", "no_deploy"});
  CHECK(
      names({.phase = Phase::Test, .level = 3, .stages = {"deploy"}}) ==
      std::vector<std::string>{"a", "deep", "deploy"});
}

TEST_CASE("a layer that brings its own data feeds itself, in training, in tests and after a restart") {
  const NetParam param(
      "net",
      CountingLayer{"data", 3},
      InnerProductLayer{"y", {"data"}, {.num_output = 2}},
      SoftmaxWithLoss{"loss", {"y", "label"}});
  const NetOptions options{.dtype = DType::F64, .threads = 1, .keep = {"data"}};
  Net net(param, options);
  CHECK(net.is_fed());
  CHECK(net.batch_size() == 3);
  const auto first = [](Net& of) {
    of.forward();
    return of.blob("data").get<double>(0, 0);
  };
  CHECK(first(net) == 0);
  CHECK(first(net) == 3);
  CHECK(net.blob("label").get<double>(0) == 1);
  CHECK(first(net) == 6);
  CHECK(first(net) == 9);
  CHECK(net.blob("data").get<double>(1, 0) == 0);  // the end of an epoch is no border
  net.rewind();
  CHECK(first(net) == 0);
  net.set_passes(2);
  CHECK(first(net) == 6);
  CHECK(message_of([&] {
          net.set_data(from_tensors({{"data", Tensor(Shape{4, 2})}}));
        }) == "net \"net\" has no input that can be fed");

  Solver solver({.base_lr = 0.01, .momentum = 0.9, .test_iter = 2}, param, options);
  solver.step(3);
  const std::vector<TestResult> results = solver.test();
  CHECK(results.size() == 1);
  CHECK(solver.test()[0].value == results[0].value);  // from the beginning each time
  const auto file = std::filesystem::temp_directory_path() / "sparknet_own_feed.snap";
  solver.snapshot(file);
  solver.step(4);
  Solver again({.base_lr = 0.01, .momentum = 0.9}, param, options);
  again.restore(file);
  again.step(4);
  CHECK(again.net().weights() == solver.net().weights());
  std::filesystem::remove(file);

  const auto first_shuffled = [&](std::uint64_t seed) {
    NetOptions seeded = options;
    seeded.seed = seed;
    Net shuffled(NetParam("net", CountingLayer{.name = "data", .batch = 10, .shuffle = true}), seeded);
    shuffled.forward();
    return shuffled.blob("data").copy();
  };
  CHECK(first_shuffled(1) == first_shuffled(1));
  CHECK_FALSE(first_shuffled(1) == first_shuffled(2));

  const GradientReport report = check_gradients(param, {});
  CHECK_MESSAGE(report.passed, report.text);

  CHECK(message_of([&] {
          Net(NetParam("n", CountingLayer{.name = "data", .batch = 3, .columns = 1}), options);
        }).find("has 2 tops, and its source has 1 column") != std::string::npos);
}
