#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sparknet/sparknet.h"
#include "tests/message_of.h"
#include "tests/nets.h"

// Nets whose images lie as NHWC on a GPU, beside the same nets on the CPU.

using namespace sparknet;
using namespace sparknet::testing;

namespace {

NetOptions on_cpu() {
  return {.dtype = DType::F64, .threads = 1};
}

NetOptions in_nhwc() {
  return {.dtype = DType::F64, .device = Device::cuda(0), .nhwc = true, .threads = 1};
}

SourcePtr images(const Shape& shape = {2, 8, 8}) {
  return random_examples(24, shape, 3);
}

/// All layers that work on images of NHWC, and between them some that do not.
NetParam wide_net(Dim batch) {
  NetParam net(
      "wide",
      RDDLayer{"data", {batch, 2, 8, 8}},
      RDDLayer{"label", {batch}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = 3, .num_output = 6, .pad = 1}},
      BatchNormLayer{"norm", {"conv"}},
      ScaleLayer{"scale", {"norm"}, {.bias = true}},
      ReLULayer{"relu", {"scale"}},
      BiasLayer{"shifted", {"relu"}},
      PReLULayer{"prelu", {"shifted"}},
      PReLULayer{"shared", {"prelu"}, {.channel_shared = true}},
      LRNLayer{"across", {"shared"}, {.local_size = 3, .alpha = 0.1}},
      LRNLayer{"within", {"relu"}, {.local_size = 3, .alpha = 0.1, .norm_region = NormRegion::WithinChannel}},
      EltwiseLayer{"product", {"across", "within"}, {.operation = Eltwise::Prod}},
      EltwiseLayer{"largest", {"product", "relu"}, {.operation = Eltwise::Max}},
      PoolingLayer{"maxima", {"largest"}, {.kernel = 2, .stride = 2}},
      PoolingLayer{"means", {"largest"}, {.pooling = Pooling::Ave, .kernel = 2, .stride = 2}},
      SigmoidLayer{"gate", {"means"}},
      ConcatLayer{"both", {"maxima", "gate"}},
      SplitLayer{"parts", {"both"}},
      ConvolutionLayer{"grouped", {"parts"}, {.kernel = 2, .num_output = 4, .stride = 2, .group = 2}},
      ReLULayer{"leaky", {"grouped"}, {.negative_slope = -0.1}},
      DeconvolutionLayer{"up", {"leaky"}, {.kernel = 2, .num_output = 3, .stride = 2}},
      PoolingLayer{"drawn", {"gate"}, {.pooling = Pooling::Stochastic, .kernel = 2, .stride = 2}},
      // Others, which want NCHW.
      SigmoidLayer{"lit", {"up"}},
      with(PoolingLayer{"pool", {"up"}, {.kernel = 2, .stride = 2}}, {.top = {"placed", "places"}}),
      with(SliceLayer{"halves", {"lit"}, {.axis = 2}}, {.top = {"upper", "lower"}}),
      DropoutLayer{"drop", {"up"}, {.ratio = 0.3}},
      MVNLayer{"mvn", {"up"}},
      ScaleLayer{"by_row", {"lit"}, {.axis = 2}},
      BiasLayer{"by_column", {"lit"}, {.axis = 3}},
      ScaleLayer{"by_other", {"lit", "up"}, {.axis = 0}},
      BiasLayer{"and_other", {"lit", "up"}, {.axis = 0}},
      EltwiseLayer{"all", {"by_row", "by_column", "by_other", "and_other", "mvn"}},
      ConcatLayer{"tall", {"up", "lit"}, {.axis = 2}},
      EltwiseLayer{"again", {"drop", "up", "all"}},
      ConvolutionLayer{"last", {"again"}, {.kernel = 3, .num_output = 5}},
      PoolingLayer{"one", {"last"}, {.pooling = Pooling::Ave, .global = true}},
      EltwiseLayer{"of_pixels", {"one", "one"}},
      FlattenLayer{"flat", {"of_pixels"}},
      InnerProductLayer{"ip", {"tall"}, {.num_output = 5}},
      InnerProductLayer{"side", {"drawn"}, {.num_output = 5}},
      InnerProductLayer{"placed_scores", {"placed"}, {.num_output = 5}},
      InnerProductLayer{"upper_scores", {"upper"}, {.num_output = 5}},
      EltwiseLayer{"scores", {"ip", "side", "flat", "placed_scores", "upper_scores"}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
  net.add(with(SliceLayer{"slice", {"parts"}, {.slice_point = {5}}}, {.top = {"few", "many"}}))
      .add(ConvolutionLayer{"of_many", {"many"}, {.kernel = 4, .num_output = 5}})
      .add(SoftmaxWithLoss{"other_loss", {"of_many", "label"}, {.loss_weight = 0.3}});
  return net;
}

double worst_loss(Solver& a, Solver& b, int steps) {
  double most = 0;
  for (int i = 0; i < steps; ++i) most = std::max(most, std::abs(a.step() - b.step()));
  return most;
}

void check_training(const NetParam& net, const NetOptions& options, const Shape& shape = {2, 8, 8}) {
  CAPTURE(net.name);
  const SolverParam param{.base_lr = 0.02, .momentum = 0.9, .weight_decay = 0.001};
  Solver here(param, net, on_cpu()), there(param, net, options);
  for (Solver* const solver : {&here, &there}) solver->set_training_data(images(shape));
  CHECK(worst_loss(here, there, 8) < 1e-9);
  CHECK(equal(here.net().weights().arena(), there.net().weights().arena(), 1e-9));
  for (const std::string& name : here.net().outputs()) {
    CAPTURE(name);
    CHECK(equal(here.net().blob(name), there.net().blob(name), 1e-9));
  }
}

std::size_t casts_in(const std::string& text) {
  std::size_t casts = 0;
  for (std::size_t at = 0; (at = text.find("CastLayer", at)) != std::string::npos; ++at) ++casts;
  return casts;
}

}  // namespace

TEST_CASE("nhwc: training is the same as on the CPU") {
  for (const bool recompute : {false, true}) {
    NetOptions options = in_nhwc();
    options.recompute = recompute;
    check_training(wide_net(4), options);
    check_training(branching_net(4), options);
    check_training(small_lenet(4), options, {1, 12, 12});
  }
}

TEST_CASE("nhwc: training nets of random layers is the same as on the CPU") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) check_training(random_net(3, seed), in_nhwc());
}

TEST_CASE("nhwc: convolutions and what lies between them are in it, and images are turned where they meet others") {
  const NetParam net(
      "turns",
      RDDLayer{"data", {4, 2, 8, 8}},
      RDDLayer{"label", {4}},
      ConvolutionLayer{"first", {"data"}, {.kernel = 3, .num_output = 6}},
      ReLULayer{"relu", {"first"}},
      PoolingLayer{"pool", {"relu"}, {.kernel = 2, .stride = 2}},
      ConvolutionLayer{"second", {"pool"}, {.kernel = 1, .num_output = 3}},
      DropoutLayer{"drop", {"second"}},
      InnerProductLayer{"wide", {"second"}, {.num_output = 5}},
      ConvolutionLayer{"third", {"drop"}, {.kernel = 3, .num_output = 5}},
      FlattenLayer{"flat", {"third"}},
      EltwiseLayer{"scores", {"flat", "wide"}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
  const std::string text = Net(net, in_nhwc()).summary();
  for (const char* const cast : {"data in nhwc", "second in nchw", "drop in nhwc"})
    CHECK_MESSAGE(text.find(cast) != std::string::npos, cast);
  // What two layers read is turned once, and what has one pixel not at all.
  CHECK(casts_in(text) == 3);
  CHECK(text.find("f64, nhwc") != std::string::npos);
  NetOptions plain = in_nhwc();
  plain.nhwc = {};
  CHECK(Net(net, plain).summary().find("nhwc") == std::string::npos);
  // In one pass with the change of type.
  NetOptions narrow{.device = Device::cuda(0), .bf16 = true};
  const std::string in_bf16 = Net(net, narrow).summary();
  CHECK(in_bf16.find("data in bf16 nhwc") != std::string::npos);
  CHECK(in_bf16.find("f32, bf16 blobs, nhwc") != std::string::npos);
  narrow.nhwc = false;
  CHECK(Net(net, narrow).summary().find("nhwc") == std::string::npos);
}

TEST_CASE("nhwc: an image of one channel is turned nowhere") {
  const std::string text = Net(small_lenet(4), in_nhwc()).summary();
  CHECK(text.find("data in") == std::string::npos);
  CHECK(casts_in(text) == 1);
}

TEST_CASE("nhwc: blobs and gradients that are read are NCHW") {
  NetOptions options = in_nhwc(), plain = on_cpu();
  options.fuse = plain.fuse = options.share_memory = plain.share_memory = false;
  options.keep = plain.keep = {"conv", "relu", "sum", "both", "leaky", "norm", "right"};
  Net here(branching_net(3), plain), there(branching_net(3), options);
  there.set_weights(here.weights());
  for (Net* const net : {&here, &there}) {
    net->set_data(images());
    net->forward();
    net->backward();
  }
  for (const std::string& name : plain.keep) {
    CAPTURE(name);
    CHECK(equal(there.blob(name), here.blob(name), 1e-10));
  }
  for (const char* const name : {"conv", "norm", "left", "right"}) {
    CAPTURE(name);
    CHECK(equal(there.blob_diff(name), here.blob_diff(name), 1e-10));
  }
  CHECK(equal(there.blob("data"), here.blob("data")));
}

TEST_CASE("nhwc: nets that test, frozen or not") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const NetParam net = seed == 0 ? wide_net(4) : random_net(3, seed);
    for (const bool freeze : {false, true}) {
      CAPTURE(net.name);
      NetOptions options = in_nhwc(), plain = on_cpu();
      options.phase = plain.phase = Phase::Test;
      options.freeze = freeze;
      Net here(net, plain), there(net, options);
      there.set_weights(here.weights());
      for (Net* const of : {&here, &there}) of->set_data(images());
      for (int batch = 0; batch < 3; ++batch) CHECK(there.forward() == doctest::Approx(here.forward()).epsilon(1e-9));
    }
  }
}

TEST_CASE("nhwc: nets in bf16 are those of NCHW but for their rounding") {
  const SolverParam param{.base_lr = 0.002, .momentum = 0.9};
  std::vector<double> losses;
  for (const bool nhwc : {false, true}) {
    Solver solver(
        param,
        wide_net(4),
        {.device = Device::cuda(0), .tf32 = false, .bf16 = true, .nhwc = nhwc, .threads = 1});
    solver.set_training_data(images());
    for (int step = 0; step < 10; ++step) losses.push_back(solver.step());
  }
  for (std::size_t i = 0; i < losses.size() / 2; ++i)
    CHECK(std::abs(losses[i] - losses[i + losses.size() / 2]) < 0.05 * losses[i]);
}

TEST_CASE("nhwc: where it is not had") {
  NetOptions options = in_nhwc();
  options.device = Device::cpu();
  CHECK(message_of([&] { Net(small_lenet(4), options); }) == "net \"small LeNet\": nhwc is for nets on a GPU");
}
