#include "sparknet/layers/batch_norm.h"

#include <cmath>
#include <limits>

#include "layer_test.h"
#include "sparknet/layers/bias.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/layer_norm.h"
#include "sparknet/layers/prelu.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/scale.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "sparknet/net.h"
#include "sparknet/solver.h"
#include "src/layers/common.h"
#include "tests/count_allocations.h"
#include "tests/nets.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::test;

namespace {

LayerParam batch_norm(BatchNormOptions options = {}) {
  return BatchNormLayer{"norm", {"x"}, options};
}

/// What Caffe's BatchNorm does with a batch, one channel and one number at a time.
struct Reference {
  explicit Reference(std::size_t channels) : mean(channels), variance(channels) {}

  Tensor train(const Tensor& x, double fraction, double eps) {
    const std::size_t channels = mean.size();
    std::vector<double> m(channels), v(channels);
    for_each(x, [&](std::size_t c, double value, double n) { m[c] += value / n; });
    double numbers = 0;
    for_each(x, [&](std::size_t c, double value, double n) {
      v[c] += (value - m[c]) * (value - m[c]) / n, numbers = n;
    });
    factor = fraction * factor + 1;
    for (std::size_t c = 0; c < channels; ++c) {
      mean[c] = fraction * mean[c] + m[c];
      variance[c] = fraction * variance[c] + v[c] * (numbers > 1 ? numbers / (numbers - 1) : 1);
    }
    return normalized(x, m, v, 1, eps);
  }
  Tensor test(const Tensor& x, double eps) const {
    return normalized(x, mean, variance, factor == 0 ? 0 : 1 / factor, eps);
  }

  std::vector<double> mean, variance;
  double factor = 0;

 private:
  template <class F>
  static void for_each(const Tensor& x, F&& f) {
    const Shape& shape = x.shape();
    const Dim channels = shape.size() == 1 ? 1 : shape[1], inner = shape.size() == 1 ? 1 : shape.count(2);
    const double n = static_cast<double>(shape.count() / channels);
    const auto values = x.span<double>();
    for (std::size_t i = 0; i < values.size(); ++i)
      f(static_cast<std::size_t>(static_cast<Dim>(i) / inner % channels), values[i], n);
  }
  static Tensor normalized(
      const Tensor& x, const std::vector<double>& m, const std::vector<double>& v, double part, double eps) {
    Tensor y = x.copy();
    std::size_t i = 0;
    for_each(x, [&](std::size_t c, double value, double) {
      y.span<double>()[i++] = (value - m[c] * part) / std::sqrt(v[c] * part + eps);
    });
    return y;
  }
};

}  // namespace

TEST_CASE("BatchNormLayer: description") {
  check_description<BatchNormLayer>();
  CHECK(BatchNormLayer{"norm", {"x"}} == BatchNormLayer{"norm", {"x"}, {.eps = 1e-5}});
  CHECK(batch_norm() != batch_norm({.use_global_stats = false}));
  CHECK(batch_norm().options_text() == "");
  CHECK(
      batch_norm({.use_global_stats = true, .moving_average_fraction = 0.9, .eps = 0.5}).options_text() ==
      "{.use_global_stats = true, .moving_average_fraction = 0.9, .eps = 0.5}");
  CHECK(shape_of(batch_norm(), {{2, 3, 4, 5}}) == Shape{2, 3, 4, 5});
}

TEST_CASE("BatchNormLayer: has Caffe's three blobs, which are not learned") {
  const SoloLayer solo(batch_norm(), {{2, 3, 4}}, {});
  const auto& params = solo.setup().params;
  REQUIRE(params.size() == 3);
  const std::vector<std::string> names = {"mean", "variance", "factor"};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(params[i].name == names[i]);
    CHECK(params[i].shape == (i < 2 ? Shape{3} : Shape{1}));
    CHECK(params[i].filler == Filler::constant(0));
    CHECK(params[i].lr_mult == 0);
    CHECK(params[i].decay_mult == 0);
  }
  CHECK(SoloLayer(batch_norm(), {{5}}, {}).setup().params[0].shape == Shape{1});
}

TEST_CASE("BatchNormLayer: hand-made cases") {
  // Two channels of four numbers, of means 4 and 0 and variances 5 and 9.
  const Tensor x = numbers({2, 2, 2}, {1, 3, -3, 3, 5, 7, 3, -3}), none = numbers({2}, {0, 0}),
               zero = numbers({1}, {0});
  for (const DType dtype : {DType::F32, DType::F64}) {
    const double close = dtype == DType::F32 ? 1e-6 : 1e-12;
    SoloLayer solo =
        ran(batch_norm({.moving_average_fraction = 0.5, .eps = 4}), {x}, {none, none, zero}, {.dtype = dtype});
    const double d = std::sqrt(13.0);
    check_equal(
        solo.io().top(),
        numbers({2, 2, 2}, {-1, -1.0 / 3, -3 / d, 3 / d, 1.0 / 3, 1, 3 / d, -3 / d}).cast(dtype),
        close);
    check_equal(solo.io().params[0], numbers({2}, {4, 0}).cast(dtype), close);
    check_equal(solo.io().params[1], numbers({2}, {20.0 / 3, 12}).cast(dtype), close);
    check_equal(solo.io().params[2], numbers({1}, {1}).cast(dtype), close);
    solo.forward();
    check_equal(solo.io().params[0], numbers({2}, {6, 0}).cast(dtype), close);
    check_equal(solo.io().params[1], numbers({2}, {10, 18}).cast(dtype), close);
    check_equal(solo.io().params[2], numbers({1}, {1.5}).cast(dtype), close);
    // Sums over two batches that count for 2: the means are 2 and -1, the variances 5 and 12.
    check_equal(
        top_of(
            batch_norm({.eps = 4}),
            {x},
            {numbers({2}, {4, -2}), numbers({2}, {10, 24}), numbers({1}, {2})},
            {.dtype = dtype, .phase = Phase::Test}),
        numbers({2, 2, 2}, {-1.0 / 3, 1.0 / 3, -0.5, 1, 1, 5.0 / 3, 1, -0.5}).cast(dtype),
        close);
    // Before the first batch there are no statistics.
    check_equal(
        top_of(batch_norm({.eps = 4}), {x}, {none, none, zero}, {.dtype = dtype, .phase = Phase::Test}),
        (x * 0.5).cast(dtype));
  }
}

TEST_CASE("BatchNormLayer: statistics of several batches") {
  for (const Shape& shape : {Shape{4, 3, 5, 7}, Shape{6, 21}, Shape{8}, Shape{1, 3}, Shape{3, 2, 5000}}) {
    const BatchNormOptions options{.moving_average_fraction = 0.75, .eps = 1e-3};
    const std::size_t channels = shape.size() == 1 ? 1 : static_cast<std::size_t>(shape[1]);
    Reference reference(channels);
    SoloLayer solo(batch_norm(options), {shape}, {.threads = 2});
    for (std::uint64_t batch = 0; batch < 5; ++batch) {
      Tensor x = noise(shape, batch + 1) * static_cast<double>(batch + 1);
      for (double& value : x.span<double>()) value += static_cast<double>(batch);
      solo.io().bottoms[0].copy_from(x);
      solo.forward();
      check_equal(solo.io().top(), reference.train(x, 0.75, 1e-3), 1e-10);
    }
    const auto& params = solo.io().params;
    const Shape per_channel{channels};
    check_equal(params[0], Tensor::from<double>(per_channel, reference.mean), 1e-10);
    check_equal(params[1], Tensor::from<double>(per_channel, reference.variance), 1e-10);
    check_equal(params[2], numbers({1}, {reference.factor}));

    const Tensor x = noise(shape, 9);
    const std::vector<Tensor> learned = {params[0].copy(), params[1].copy(), params[2].copy()};
    SoloLayer test = ran(batch_norm(options), {x}, learned, {.phase = Phase::Test});
    check_equal(test.io().top(), reference.test(x, 1e-3), 1e-10);
    for (std::size_t i = 0; i < 3; ++i) check_equal(test.io().params[i], learned[i], 0);
  }
}

TEST_CASE("BatchNormLayer: use_global_stats says what to use in either phase") {
  const Tensor x = noise({4, 3, 2}), mean = noise({3}, 2), variance = numbers({3}, {1, 2, 3}),
               factor = numbers({1}, {2});
  const std::vector<Tensor> learned = {mean, variance, factor};
  const auto top = [&](std::optional<bool> global, Phase phase) {
    return top_of(batch_norm({.use_global_stats = global}), {x}, learned, {.phase = phase});
  };
  const Tensor running = top({}, Phase::Test), batch = top({}, Phase::Train);
  CHECK_FALSE(equal(running, batch, 1e-3));
  check_equal(top(true, Phase::Train), running);
  check_equal(top(true, Phase::Test), running);
  check_equal(top(false, Phase::Train), batch);
  check_equal(top(false, Phase::Test), batch);
}

TEST_CASE("BatchNormLayer: gradients by the batch's statistics") {
  for (const Shape& shape : {Shape{4, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{7}, Shape{5, 67}, Shape{1, 2, 33}})
    for (const double eps : {1e-5, 0.5}) check_gradients_of(batch_norm({.eps = eps}), {shape}, {.step = 1e-5});
}

TEST_CASE("BatchNormLayer: gradients by the running statistics") {
  // All random numbers are positive, the variances and the factor among them.
  const GradientCheckOptions positive{.values = Filler::uniform(0.5, 2)};
  for (const Shape& shape : {Shape{4, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{7}})
    check_gradients_of(batch_norm({.use_global_stats = true}), {shape}, positive);
}

TEST_CASE("BatchNormLayer: what backward reads") {
  const SoloLayer batch(batch_norm(), {{2, 3}}, {}), running(batch_norm({.use_global_stats = true}), {{2, 3}}, {});
  CHECK_FALSE(batch.setup().reads_bottoms);
  CHECK(batch.setup().reads_tops);
  CHECK(batch.setup().in_place_bottoms == 1);
  CHECK_FALSE(running.setup().reads_bottoms);
  CHECK_FALSE(running.setup().reads_tops);
  CHECK(running.setup().in_place_bottoms == 1);
}

TEST_CASE("BatchNormLayer: in a net, with the scale that follows it") {
  NetParam net(
      "net",
      RDDLayer{"data", {6, 4}},
      RDDLayer{"label", {6}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 5}},
      BatchNormLayer{"norm", {"ip"}},
      ScaleLayer{"scale", {"norm"}, {.bias = true}},
      InnerProductLayer{"scores", {"scale"}, {.num_output = 3}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
  const GradientReport report = check_gradients(net, {{"label", numbers({6}, {0, 2, 1, 2, 0, 1})}}, {.step = 1e-5});
  CHECK_MESSAGE(report.passed, report.text);

  // A test net reads the statistics of the net that trains.
  Net train(net, {.dtype = DType::F64});
  Net test(net, {.phase = Phase::Test, .dtype = DType::F64, .keep = {"norm", "ip"}}, train);
  const Tensor x = noise({6, 4}), label = numbers({6}, {0, 2, 1, 2, 0, 1});
  Reference reference(5);
  for (int batch = 0; batch < 3; ++batch) {
    const Tensor now = x * static_cast<double>(batch + 1);
    for (Net* each : {&train, &test}) each->set_input("data", now), each->set_input("label", label);
    test.forward();
    check_equal(test.blob("norm"), reference.test(test.blob("ip"), 1e-5), 1e-10);
    train.forward();
    reference.train(test.blob("ip"), 0.999, 1e-5);
  }
}

TEST_CASE("BatchNormLayer: a solver that decays weights leaves the statistics alone, and a snapshot keeps them") {
  const NetParam net(
      "net",
      RDDLayer{"data", {8, 6}},
      RDDLayer{"label", {8}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 5}},
      BatchNormLayer{"norm", {"ip"}, {.moving_average_fraction = 0.5}},
      ScaleLayer{"scale", {"norm"}, {.num_axes = 0, .bias = true}},
      PReLULayer{"prelu", {"scale"}, {.channel_shared = true}},
      LayerNormLayer{"layer_norm", {"prelu"}},
      InnerProductLayer{"scores", {"layer_norm"}, {.num_output = 5}},
      BiasLayer{"bias", {"scores"}},
      SoftmaxWithLoss{"loss", {"bias", "label"}});
  const SolverParam param{.base_lr = 0.1, .momentum = 0.9, .weight_decay = 0.1};
  Solver solver(param, net, {.threads = 2});
  solver.set_training_data(testing::random_examples(64, {6}, 2));
  solver.step(3);
  CHECK(solver.net().weights()["norm"].at(2).flatten().get<float>(0) == 1.75);
  CHECK(solver.net().weights()["scale"].at(0).shape() == Shape());
  CHECK(solver.net().weights()["scale"].at(0).flatten().get<float>(0) != 1);
  CHECK(solver.net().weights()["prelu"].at(0).flatten().get<float>(0) != 0.25);

  const std::size_t before = allocations();
  solver.step(3);
  CHECK(allocations() == before);

  const TempDir dir;
  solver.snapshot(dir / "snap");
  Solver other(param, net, {.threads = 2});
  other.set_training_data(testing::random_examples(64, {6}, 2));
  other.restore(dir / "snap");
  CHECK(other.net().weights() == solver.net().weights());
  solver.step(2);
  other.step(2);
  CHECK(other.net().weights() == solver.net().weights());
}

TEST_CASE("BatchNormLayer: messages") {
  CHECK(
      refusal(batch_norm({.moving_average_fraction = 1.5}), {{2, 3}}) ==
      "option .moving_average_fraction must be from 0 to 1, not 1.5");
  CHECK(
      refusal(batch_norm({.moving_average_fraction = std::nan("")}), {{2, 3}}) ==
      "option .moving_average_fraction must be from 0 to 1, not nan");
  CHECK(refusal(batch_norm({.eps = -1}), {{2, 3}}) == "option .eps must be finite and not below 0, not -1");
  CHECK(refusal(batch_norm(), {Shape()}) == "expects a batch [N, C, ...], not one number");

  CHECK_THROWS_WITH_AS(
      Net(NetParam("net", RDDLayer{"x", {2, 3}}, with(batch_norm(), {.param = {{.lr_mult = 1.0}}}))),
      doctest::Contains("has the lr_mult 0 for its \"mean\", and is told 1 beside"),
      NetError);
}
