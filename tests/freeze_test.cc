// Nets whose parameters stay the same, beside the same nets as they were described.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sparknet/sparknet.h"
#include "tests/count_allocations.h"
#include "tests/message_of.h"
#include "tests/nets.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// Normal numbers for all parameters, and positive ones for variances and what they are divided by.
WeightCollection random_weights(const Net& net, std::uint64_t seed) {
  WeightCollection weights = net.weights();
  Random random(seed);
  for (std::size_t i = 0; i < weights.layout().size(); ++i) {
    const std::string& name = weights.layout()[i].name;
    const bool positive = name == "variance" || name == "factor";
    Tensor values = weights.tensor(i).cast(DType::F64).copy();
    for (double& value : values.span<double>()) value = positive ? 0.5 + random.uniform() : 0.4 * random.gaussian();
    weights.tensor(i).copy_from(values.cast(weights.tensor(i).dtype()));
  }
  return weights;
}

Tensor noise(const Shape& shape, std::uint64_t seed) {
  Tensor values(shape, DType::F64);
  Random random(seed);
  fill(Filler::gaussian(0, 1), values, random);
  return values;
}

/// The largest difference of two blobs, as a share of the largest number.
double difference(const Tensor& a, const Tensor& b) {
  const Tensor left = a.cast(DType::F64), right = b.cast(DType::F64);
  const auto x = left.span<double>(), y = right.span<double>();
  REQUIRE(x.size() == y.size());
  double worst = 0, largest = 1e-300;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::abs(x[i] - y[i]));
    largest = std::max(largest, std::abs(y[i]));
  }
  return worst / largest;
}

/// Runs a net whose input is "x" and whose last layer is "y" both ways; returns the summary of the frozen one.
std::string check_frozen(
    const NetParam& param, const Shape& input, DType dtype = DType::F64, std::vector<std::string> keep = {}) {
  const double tolerance = dtype == DType::F64 ? 1e-12 : 3e-5;
  Net plain(param, {.phase = Phase::Test, .dtype = dtype, .winograd = false, .threads = 1, .fuse = false});
  std::string summary;
  for (const int threads : {1, 3}) {
    Net frozen(param, {.phase = Phase::Test, .dtype = dtype, .threads = threads, .freeze = true, .keep = keep});
    CAPTURE(frozen.summary());
    for (const std::uint64_t seed : {1U, 2U}) {
      const WeightCollection weights = random_weights(plain, seed);
      for (Net* const net : {&plain, &frozen}) {
        net->set_weights(weights);
        net->set_input("x", noise(input, 5 + seed));
        net->forward();
      }
      CHECK(difference(frozen.blob("y"), plain.blob("y")) < tolerance);
    }
    summary = frozen.summary();
  }
  return summary;
}

NetParam net_of(const Shape& input, const std::vector<LayerParam>& layers) {
  NetParam param("frozen", RDDLayer{"x", input});
  for (const LayerParam& layer : layers) param.add(layer);
  return param;
}

}  // namespace

TEST_CASE("a frozen net: products take in the passes that follow them") {
  struct Case {
    LayerParam layer;
    Shape input;
  };
  const std::vector<Case> cases = {
      {ConvolutionLayer{"first", {"x"}, {.kernel = 3, .num_output = 5, .pad = 1}}, {2, 3, 9, 8}},
      {ConvolutionLayer{"first", {"x"}, {.kernel = 3, .num_output = 5, .bias = false}}, {2, 3, 9, 8}},
      {ConvolutionLayer{"first", {"x"}, {.kernel = 5, .num_output = 6, .stride = 2, .group = 2}}, {2, 4, 9, 8}},
      {ConvolutionLayer{"first", {"x"}, {.kernel = 3, .num_output = 8, .group = 4}}, {1, 4, 6, 7}},  // depthwise
      {ConvolutionLayer{"first", {"x"}, {.kernel = 1, .num_output = 40}}, {1, 7, 3, 3}},
      {ConvolutionLayer{"first", {"x"}, {.kernel = 1, .num_output = 6, .stride = 2, .group = 3}}, {2, 9, 21, 20}},
      {ConvolutionLayer{"first", {"x"}, {.kernel = 2, .num_output = 3}}, {2, 4, 5, 4, 6}},  // over three axes
      {ConvolutionNdLayer{"first", {"x"}, {.kernel = {2, 3}, .num_output = 3}}, {2, 4, 5, 4}},
      {DeconvolutionLayer{"first", {"x"}, {.kernel = 3, .num_output = 6, .stride = 2, .group = 2}}, {2, 4, 5, 6}},
      {DeconvolutionLayer{"first", {"x"}, {.kernel = 2, .num_output = 3}}, {2, 4, 3, 4, 2}},
      {DeconvolutionNdLayer{"first", {"x"}, {.kernel = {2}, .num_output = 6, .group = 2}}, {2, 4, 3, 4}},
      {InnerProductLayer{"first", {"x"}, {.num_output = 7}}, {3, 5}},
      {InnerProductLayer{"first", {"x"}, {.num_output = 7, .bias = false}}, {3, 2, 5}},
      {InnerProductLayer{"first", {"x"}, {.num_output = 7, .transpose = true}}, {20, 5}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.layer.options_text());
    const NetParam param = net_of(
        c.input,
        {c.layer,
         BatchNormLayer{"norm", {"first"}, {.eps = 1e-3}},
         ScaleLayer{"scale", {"norm"}, {.bias = true}},
         ScaleLayer{"again", {"scale"}},
         BiasLayer{"bias", {"again"}},
         ReLULayer{"relu", {"bias"}, {.negative_slope = 0.1}},
         PowerLayer{"y", {"relu"}}});
    CHECK(count_of(check_frozen(param, c.input), "fused into first") == 5);
  }
}

TEST_CASE("a frozen net: large convolutions of F32, by minimal filtering and of single pixels") {
  const std::vector<ConvolutionOptions> options = {
      {.kernel = 3, .num_output = 70, .pad = 1},
      {.kernel = 5, .num_output = 40, .pad = 2},
      {.kernel = 1, .num_output = 70},
  };
  for (const ConvolutionOptions& o : options)
    for (const Dim size : {7, 30}) {
      const Shape input{1, 48, size, size};
      const NetParam param = net_of(
          input,
          {ConvolutionLayer{"conv", {"x"}, o},
           BatchNormLayer{"norm", {"conv"}},
           ReLULayer{"relu", {"norm"}},
           PowerLayer{"y", {"relu"}}});
      const std::string summary = check_frozen(param, input, DType::F32);
      CHECK(count_of(summary, "fused into conv") == 2);
      CHECK(count_of(summary, ", prepared weights ") == 1);
    }
}

TEST_CASE("a frozen net: what no product can take in stays") {
  const Shape image{2, 3, 5, 6};
  const ConvolutionLayer conv{"conv", {"x"}, {.kernel = 3, .num_output = 3, .pad = 1}};
  const auto check = [&](const Shape& input, const std::vector<LayerParam>& layers, std::size_t fused) {
    CHECK(count_of(check_frozen(net_of(input, layers), input), "fused into") == fused);
  };
  // A ReLU lies between.
  check(image, {conv, ReLULayer{"relu", {"conv"}}, BatchNormLayer{"y", {"relu"}}}, 1);
  // By the moments of the batch.
  check(image, {conv, BatchNormLayer{"y", {"conv"}, {.use_global_stats = false}}}, 0);
  // Of other axes.
  check(image, {conv, ScaleLayer{"y", {"conv"}, {.axis = 2}}}, 0);
  check(image, {conv, ScaleLayer{"y", {"conv"}, {.num_axes = 2}}}, 0);
  check(image, {conv, BiasLayer{"y", {"conv"}, {.axis = 2}}}, 0);
  check({2, 5, 6}, {InnerProductLayer{"ip", {"x"}, {.num_output = 4, .axis = 2}}, BatchNormLayer{"y", {"ip"}}}, 0);
  check(
      image,
      {ConvolutionNdLayer{"conv", {"x"}, {.kernel = {3}, .num_output = 2, .axis = 2}}, BatchNormLayer{"y", {"conv"}}},
      0);
  // Two read what is between.
  check(image, {conv, BatchNormLayer{"norm", {"conv"}}, EltwiseLayer{"y", {"conv", "norm"}}}, 0);
  // The factors are a blob.
  check(
      image,
      {conv, PoolingLayer{"pool", {"conv"}, {.kernel = 1}}, ScaleLayer{"y", {"conv", "pool"}, {.axis = 0}}},
      0);
  // No product is before it: then the scale is the normalisation's.
  check(image, {BatchNormLayer{"norm", {"x"}}, ScaleLayer{"y", {"norm"}}}, 1);

  const NetParam kept = net_of(image, {conv, BatchNormLayer{"norm", {"conv"}}, ScaleLayer{"y", {"norm"}}});
  CHECK(count_of(check_frozen(kept, image), "fused into conv") == 2);
  CHECK(count_of(check_frozen(kept, image, DType::F64, {"norm"}), "fused into conv") == 1);
  CHECK(count_of(check_frozen(kept, image, DType::F64, {"conv"}), "fused into conv") == 0);
}

TEST_CASE("a frozen net: random nets give the same losses") {
  std::size_t taken_in = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const NetParam param = random_net(3, seed);
    CAPTURE(param.name);
    Net plain(param, {.phase = Phase::Test, .dtype = DType::F64, .threads = 1, .fuse = false});
    Net frozen(param, {.phase = Phase::Test, .dtype = DType::F64, .threads = 2, .freeze = true});
    const WeightCollection weights = random_weights(plain, seed);
    for (Net* const net : {&plain, &frozen}) {
      net->set_weights(weights);
      net->set_data(random_examples(9, {2, 8, 8}, 3));
    }
    for (int pass = 0; pass < 3; ++pass) {
      const double loss = plain.forward();
      CHECK(frozen.forward() == doctest::Approx(loss).epsilon(1e-10));
    }
    for (std::size_t at = 0; (at = frozen.summary().find("_norm  BatchNormLayer", at)) != std::string::npos; ++at) {
      const std::string summary = frozen.summary();
      taken_in += summary.substr(at, summary.find('\n', at) - at).find("fused into") != std::string::npos;
    }
  }
  CHECK(taken_in >= 5);
}

TEST_CASE("a frozen net sees weights that were set, written or announced") {
  const NetParam param = net_of(
      {1, 2, 6, 6},
      {ConvolutionLayer{"conv", {"x"}, {.kernel = 1, .num_output = 3}}, ScaleLayer{"y", {"conv"}, {.bias = true}}});
  Net plain(param, {.phase = Phase::Test, .threads = 1});
  Net frozen(param, {.phase = Phase::Test, .threads = 1, .freeze = true}, plain);
  Net own(param, {.phase = Phase::Test, .threads = 1, .freeze = true});
  const Tensor x = noise({1, 2, 6, 6}, 3);
  const auto run = [&](Net& net) {
    net.set_input("x", x);
    net.forward();
    return net.blob("y").copy();
  };
  own.set_weights(plain.weights());
  const Tensor before = run(plain);
  CHECK(difference(run(frozen), before) < 1e-6);
  CHECK(difference(run(own), before) < 1e-6);

  plain.set_weights(random_weights(plain, 3));
  const Tensor after = run(plain);
  CHECK(difference(after, before) > 0.01);
  CHECK(difference(run(frozen), before) < 1e-6);  // nobody told it
  frozen.weights_changed();
  CHECK(difference(run(frozen), after) < 1e-6);
  own.set_weights(plain.weights());
  CHECK(difference(run(own), after) < 1e-6);
  own.param_arena().fill(0);
  CHECK(difference(run(own), Tensor(after.shape())) == 0);
}

TEST_CASE("a frozen net: each layer has prepared weights of its own") {
  const auto prepared = [](int layers) {
    NetParam param = net_of({1, 16, 6, 6}, {});
    for (int i = 0; i < layers; ++i) {
      const std::string bottom = i == 0 ? "x" : "conv" + std::to_string(i - 1);
      param.add(ConvolutionLayer{"conv" + std::to_string(i), {bottom}, {.kernel = 1, .num_output = 16}});
    }
    return Net(param, {.phase = Phase::Test, .threads = 1, .freeze = true}).memory().prepared;
  };
  CHECK(prepared(0) == 0);
  CHECK(prepared(1) >= 16 * 16 * sizeof(float));
  CHECK(prepared(3) == 3 * prepared(1));
}

TEST_CASE("a frozen net: a pass allocates nothing, and one that learns is refused") {
  NetParam param = random_net(4, 7);
  Net net(param, {.phase = Phase::Test, .threads = 2, .freeze = true});
  net.set_data(random_examples(8, {2, 8, 8}, 2), {.prefetch = 0});
  net.forward();
  const std::size_t before = allocations();
  for (int pass = 0; pass < 3; ++pass) net.forward();
  CHECK(allocations() == before);

  CHECK(message_of([&] {
          Net(small_lenet(2), {.freeze = true});
        }) == "net \"small LeNet\": a net that learns cannot be frozen; freeze is for the test phase");
  const std::string summary = Net::summary(small_lenet(2), {.phase = Phase::Test, .threads = 1, .freeze = true});
  CHECK(summary.find("small LeNet (test, frozen, f32, ") == 0);
}
