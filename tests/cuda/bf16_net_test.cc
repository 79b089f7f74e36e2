#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/sparknet.h"
#include "tests/message_of.h"
#include "tests/nets.h"
#include "tests/place.h"

// Nets whose blobs are of BF16 where that pays, beside the same nets in F32.

using namespace sparknet;
using namespace sparknet::testing;

namespace {

NetOptions options(bool bf16) {
  return {.device = Device::cuda(0), .tf32 = false, .bf16 = bf16, .threads = 1};
}

SourcePtr digits(Dim count = 24) {
  return random_examples(count, {1, 12, 12}, 3);
}

/// Layers of both kinds, and blobs that layers of both kinds read.
NetParam mixed_net(Dim batch) {
  return NetParam(
      "mixed",
      RDDLayer{"data", {batch, 1, 12, 12}},
      RDDLayer{"label", {batch}},
      ConvolutionLayer{"conv", {"data"}, {.kernel = {3, 3}, .num_output = 6}},
      BatchNormLayer{"norm", {"conv"}},
      ScaleLayer{"scale", {"norm"}, {.bias = true}},
      ReLULayer{"relu", {"scale"}},
      PoolingLayer{"pool", {"relu"}, {.kernel = {2, 2}, .stride = {2, 2}}},
      LRNLayer{"lrn", {"pool"}},
      ConvolutionLayer{"left", {"lrn"}, {.kernel = {1, 1}, .num_output = 6}},
      TanHLayer{"right", {"lrn"}},
      EltwiseLayer{"sum", {"left", "lrn"}},
      SigmoidLayer{"gate", {"lrn"}},
      EltwiseLayer{"both", {"sum", "right", "gate"}},
      ConcatLayer{"wide", {"sum", "left"}},
      DropoutLayer{"drop", {"wide"}, {.ratio = 0.3}},
      InnerProductLayer{"deep", {"drop"}, {.num_output = 5}},
      InnerProductLayer{"flat", {"both"}, {.num_output = 5}},
      EltwiseLayer{"scores", {"deep", "flat"}},
      SoftmaxWithLoss{"loss", {"scores", "label"}});
}

Solver solver_of(bool bf16, const NetParam& net, const SolverParam& param) {
  Solver solver(param, net, options(bf16));
  solver.set_training_data(digits());
  return solver;
}

double norm(const Tensor& values) {
  double sum = 0;
  for (const float value : values.span<float>()) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

/// |a - b| / |b|
double distance(const Tensor& a, const Tensor& b) {
  return norm(a - b) / norm(b);
}

Tensor gradients_of(Net& net) {
  Tensor here(net.gradient_arena().shape());
  net.backend().read(here.raw(), net.gradient_arena().raw(), here.bytes());
  return here;
}

}  // namespace

TEST_CASE("bf16: products and what lies between them are in it, and the rest is not") {
  const std::string text = Net(mixed_net(4), options(true)).summary();
  for (const char* const cast :
       {"data in bf16", "lrn in f32", "sum in f32", "both in bf16 nchw", "wide in nchw", "scores in f32"})
    CHECK_MESSAGE(text.find(cast) != std::string::npos, cast);
  std::size_t casts = 0;
  for (std::size_t at = 0; (at = text.find("CastLayer", at)) != std::string::npos; ++at) ++casts;
  CHECK(casts == 6);
  CHECK(text.find("f32, bf16 blobs") != std::string::npos);
  const Net plain(mixed_net(4), options(false));
  CHECK(plain.summary().find("bf16") == std::string::npos);
}

TEST_CASE("bf16: a forward and a backward pass are those of F32 but for its rounding") {
  for (const bool recompute : {false, true}) {
    NetOptions narrow = options(true);
    narrow.recompute = recompute;
    Net there(mixed_net(4), narrow), here(mixed_net(4), options(false));
    there.set_weights(here.weights());
    for (Net* const net : {&there, &here}) net->set_data(digits());
    for (int batch = 0; batch < 3; ++batch) {
      const double loss = there.forward(), wanted = here.forward();
      CHECK(std::abs(loss - wanted) < 0.02 * wanted);
      CHECK(loss != wanted);
      there.clear_gradients();
      here.clear_gradients();
      there.backward();
      here.backward();
      CHECK(distance(gradients_of(there), gradients_of(here)) < 0.03);
    }
  }
}

TEST_CASE("bf16: gradients of several passes are summed in F32") {
  Net there(mixed_net(4), options(true)), here(mixed_net(4), options(false));
  there.set_weights(here.weights());
  for (Net* const net : {&there, &here}) {
    net->set_data(digits());
    for (int pass = 0; pass < 40; ++pass) {
      net->forward();
      net->backward();
    }
  }
  CHECK(distance(gradients_of(there), gradients_of(here)) < 0.03);
}

TEST_CASE("bf16: training goes on as in F32") {
  const SolverParam plain{.base_lr = 0.002, .momentum = 0.9, .weight_decay = 0.001};
  SolverParam adam_rule{.base_lr = 0.002, .rule = adam()}, passes = plain;
  passes.iter_size = 2;
  for (const SolverParam& param : {plain, adam_rule, passes}) {
    Solver narrow = solver_of(true, mixed_net(4), param), wide = solver_of(false, mixed_net(4), param);
    double worst = 0, first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      last = narrow.step();
      if (step == 0) first = last;
      worst = std::max(worst, std::abs(last - wide.step()));
    }
    CHECK(worst < 0.15);
    CHECK(last < first);
    CHECK(narrow.net().param_arena().dtype() == DType::F32);
    CHECK(narrow.history().dtype() == DType::F32);
    CHECK(distance(narrow.net().weights().arena(), wide.net().weights().arena()) < 0.05);
  }
}

TEST_CASE("bf16: small steps are not lost, as weights are F32") {
  // Each step is far below what BF16 could add to a weight.
  const SolverParam param{.base_lr = 1e-6};
  Solver narrow = solver_of(true, mixed_net(4), param), wide = solver_of(false, mixed_net(4), param);
  const Tensor before = wide.net().weights().arena();
  narrow.step(50);
  wide.step(50);
  const Tensor moved = narrow.net().weights().arena() - before, wanted = wide.net().weights().arena() - before;
  CHECK(norm(wanted) > 0);
  CHECK(distance(moved, wanted) < 0.05);
}

TEST_CASE("bf16: labels and other numbers that it does not hold stay what they are") {
  const NetParam net(
      "many classes",
      RDDLayer{"data", {2, 8}},
      RDDLayer{"label", {2}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 1000}},
      SoftmaxWithLoss{"loss", {"ip", "label"}},
      AccuracyLayer{"accuracy", {"ip", "label"}});
  NetOptions narrow = options(true);
  narrow.keep = {"ip"};
  Net there(net, narrow), here(net, options(false));
  Tensor data({2, 8}), label({2});
  for (float& value : data.span<float>()) value = 1;
  label.set<float>(997, 0);
  label.set<float>(515, 1);
  for (Net* const of : {&there, &here}) {
    WeightCollection weights = of->weights();
    weights.arena().fill(0);
    for (Dim i = 0; i < 8; ++i)
      for (const Dim row : {997, 515}) weights["ip"][0].set<float>(row == 997 ? 0.5F : 0.25F, row, i);
    of->set_weights(weights);
    of->set_input("data", data);
    of->set_input("label", label);
  }
  CHECK(there.forward() == doctest::Approx(here.forward()).epsilon(1e-3));
  CHECK_UNARY(there.blob("label") == label);
  CHECK_UNARY(there.blob("accuracy") == here.blob("accuracy"));
  const Tensor scores = there.blob("ip");
  CHECK(scores.dtype() == DType::F32);
  CHECK(scores.get<float>(0, 997) == 4);
}

TEST_CASE("bf16: tests, frozen nets and snapshots") {
  Solver narrow = solver_of(true, mixed_net(4), {.base_lr = 0.05, .momentum = 0.9, .test_iter = 4});
  narrow.set_test_data(digits());
  narrow.step(20);
  const std::vector<TestResult> found = narrow.test();
  NetOptions test = options(false);
  test.phase = Phase::Test;
  for (const bool freeze : {false, true}) {
    NetOptions frozen = options(true);
    frozen.phase = Phase::Test;
    frozen.freeze = freeze;
    Net there(mixed_net(4), frozen), here(mixed_net(4), test);
    double loss = 0, wanted = 0;
    for (Net* const net : {&there, &here}) {
      net->set_weights(narrow.net().weights());
      net->set_data(digits());
    }
    for (int batch = 0; batch < 4; ++batch) loss += there.forward() / 4, wanted += here.forward() / 4;
    CHECK(loss == doctest::Approx(wanted).epsilon(0.02));
    CHECK(found[0].value == doctest::Approx(wanted).epsilon(0.02));
  }
}

TEST_CASE("bf16: blobs take half of the memory") {
  const NetParam net(
      "deep",
      RDDLayer{"data", {16, 1, 12, 12}},
      RDDLayer{"label", {16}},
      ConvolutionLayer{"one", {"data"}, {.kernel = {3, 3}, .num_output = 16}},
      PoolingLayer{"two", {"one"}, {.kernel = {2, 2}, .stride = {1, 1}}},
      PoolingLayer{"three", {"two"}, {.kernel = {2, 2}, .stride = {1, 1}}},
      InnerProductLayer{"four", {"three"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"four", "label"}});
  NetOptions narrow = options(true), wide = options(false);
  narrow.share_memory = wide.share_memory = false;
  narrow.nhwc = false;  // as turned images are blobs too
  const double ratio =
      static_cast<double>(Net(net, narrow).memory().blobs) / static_cast<double>(Net(net, wide).memory().blobs);
  CHECK(ratio < 0.65);
  CHECK(Net(net, narrow).memory().params == Net(net, wide).memory().params);
}

TEST_CASE("bf16: workers with gradients in common") {
  std::vector<WeightCollection> weights(2);
  run_on_threads(2, [&](Communicator& group) {
    AveragingSolver solver(
        {.base_lr = 0.05, .momentum = 0.9, .max_iter = 6},
        mixed_net(4),
        group,
        {.round = {.max_steps = 3}, .gradients = SharedGradients{.bucket_bytes = 256}},
        options(true));
    solver.solve(digits());
    weights[static_cast<std::size_t>(group.rank())] = solver.weights();
  });
  CHECK(weights[0] == weights[1]);
  for (const float weight : weights[0].arena().span<float>()) CHECK_UNARY(std::isfinite(weight));
}

TEST_CASE("bf16: where it is not had") {
  NetOptions of_double = options(true), on_cpu = options(true);
  of_double.dtype = DType::F64;
  on_cpu.device = Device::cpu();
  for (const NetOptions& wrong : {of_double, on_cpu})
    CHECK(message_of([&] { Net(mixed_net(4), wrong); }) == "net \"mixed\": bf16 is for nets of f32 on a GPU");
  if (cuda_devices()[0].major >= 8) return;
  CHECK(message_of([&] {
          Net(mixed_net(4), options(true));
        }) == "net \"mixed\": cuda:0 has no bf16, which GPUs of compute capability 8.0 and later have");
}
