#include "sparknet/solver.h"

#include <doctest/doctest.h>

#include <cmath>

#include "sparknet/layers/accuracy.h"
#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "tests/count_allocations.h"
#include "tests/nets.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

NetParam linear_net(Dim batch) {
  return NetParam(
      "linear",
      RDDLayer{"data", {batch, 6}},
      RDDLayer{"label", {batch}},
      InnerProductLayer{"hidden", {"data"}, {.num_output = 7, .lr_mult = {1, 2}, .decay_mult = {1, 0}}},
      InnerProductLayer{"ip", {"hidden"}, {.num_output = 5, .lr_mult = {0.5, 1}}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}

/// Caffe's SGD written again, in double and without regard to speed, on gradients that another net computes.
class ReferenceSgd {
 public:
  explicit ReferenceSgd(SolverParam param) : param_(std::move(param)) {}

  void step(Net& net, std::int64_t iteration) {
    net.clear_gradients();
    for (int pass = 0; pass < param_.iter_size; ++pass) net.forward(), net.backward();
    Tensor weights = net.param_arena();
    const Tensor gradients = net.gradient_arena();
    history_.resize(static_cast<std::size_t>(weights.count()));
    double squares = 0;
    for (const ParamInfo& p : net.params())
      for (Dim i = 0; i < p.shape.count(); ++i) squares += std::pow(gradients.get<double>(p.offset + i), 2);
    const double norm = std::sqrt(squares);
    const double clip = param_.clip_gradients > 0 && norm > param_.clip_gradients ? param_.clip_gradients / norm : 1;
    const double rate = 0.1 * std::pow(1 + 0.01 * static_cast<double>(iteration), -0.75);
    for (const ParamInfo& p : net.params())
      for (Dim i = p.offset; i < p.offset + p.shape.count(); ++i) {
        const double w = weights.get<double>(i);
        const double decayed = param_.regularization == Regularization::L2 ? w : (w > 0) - (w < 0);
        const double g =
            gradients.get<double>(i) * clip / param_.iter_size + param_.weight_decay * p.decay_mult * decayed;
        double& h = history_[static_cast<std::size_t>(i)];
        h = param_.momentum * h + rate * p.lr_mult * g;
        weights.set<double>(w - h, i);
      }
  }

 private:
  SolverParam param_;
  std::vector<double> history_;
};

}  // namespace

TEST_CASE("SGD follows Caffe's formula for many steps") {
  const LrPolicy policy = lr_policy::Inv{.gamma = 0.01, .power = 0.75};
  const SolverParam cases[] = {
      {.base_lr = 0.1, .lr_policy = policy},
      {.base_lr = 0.1, .lr_policy = policy, .momentum = 0.9, .weight_decay = 0.01},
      {.base_lr = 0.1,
       .lr_policy = policy,
       .momentum = 0.9,
       .weight_decay = 0.01,
       .regularization = Regularization::L1},
      {.base_lr = 0.1, .lr_policy = policy, .momentum = 0.5, .iter_size = 3},
      {.base_lr = 0.1, .lr_policy = policy, .momentum = 0.5, .iter_size = 2, .clip_gradients = 0.3},
  };
  for (const SolverParam& param : cases) {
    const NetOptions options{.dtype = DType::F64, .threads = 1};
    Solver solver(param, linear_net(4), options);
    Net net(linear_net(4), options);
    solver.set_training_data(random_examples(13, {6}, 1));
    net.set_data(random_examples(13, {6}, 1));
    ReferenceSgd reference(param);
    for (int iteration = 0; iteration < 60; ++iteration) {
      solver.step();
      reference.step(net, iteration);
    }
    CHECK(equal(solver.net().weights(), net.weights(), 1e-12));
  }
}

TEST_CASE("iter_size passes of a small batch are one pass of the large batch") {
  const SolverParam once{.base_lr = 0.1, .momentum = 0.9};
  SolverParam twice = once;
  twice.iter_size = 2;
  Solver large(once, linear_net(8), {.dtype = DType::F64, .threads = 1});
  Solver small(twice, linear_net(4), {.dtype = DType::F64, .threads = 1});
  large.set_training_data(random_examples(40, {6}, 1));
  small.set_training_data(random_examples(40, {6}, 1));
  for (int i = 0; i < 20; ++i) CHECK(large.step() == doctest::Approx(small.step()).epsilon(1e-12));
  CHECK(equal(large.net().weights(), small.net().weights(), 1e-12));
}

TEST_CASE("a step of the solver allocates nothing") {
  Solver solver(
      {.momentum = 0.9, .weight_decay = 0.001, .clip_gradients = 1, .average_loss = 3},
      small_lenet(4),
      {.threads = 2});
  solver.set_training_data(random_examples(64, {1, 12, 12}, 1));
  solver.step(5);
  const std::size_t before = allocations();
  solver.step(5);
  CHECK(allocations() == before);
}

TEST_CASE("average_loss smooths over the last losses") {
  const auto losses = [](int window) {
    Solver solver({.average_loss = window}, linear_net(4), {.threads = 1});
    solver.set_training_data(random_examples(40, {6}, 1));
    std::vector<double> out;
    for (int i = 0; i < 6; ++i) out.push_back(solver.step());
    return out;
  };
  const std::vector<double> plain = losses(1), smooth = losses(3);
  CHECK(smooth[0] == plain[0]);
  CHECK(smooth[1] == doctest::Approx((plain[0] + plain[1]) / 2));
  CHECK(smooth[5] == doctest::Approx((plain[3] + plain[4] + plain[5]) / 3));
}

TEST_CASE("solve tests, reports and stops when it should") {
  NetParam param = linear_net(4);
  param.add(AccuracyLayer{"accuracy", {"ip", "label"}, {}, Include::Test});
  Solver solver({.max_iter = 10, .test_interval = 4, .test_iter = 3, .display = 5}, param, {.threads = 1});
  solver.set_training_data(random_examples(40, {6}, 1));
  solver.set_test_data(random_examples(12, {6}, 2));
  std::vector<std::int64_t> tested, displayed;
  std::vector<double> values;
  solver.set_callbacks(
      {.progress = [&](const Progress& p) { displayed.push_back(p.iteration); },
       .tested =
           [&](std::int64_t iteration, const std::vector<TestResult>& results) {
             tested.push_back(iteration);
             CHECK(results.size() == 2);
             CHECK(results[0].output == "loss");
             CHECK(results[1].output == "accuracy");
             values.push_back(results[1].value);
           }});
  solver.solve();
  CHECK(tested == std::vector<std::int64_t>{0, 4, 8, 10});
  CHECK(displayed == std::vector<std::int64_t>{5, 10});
  CHECK(solver.test()[1].value == values.back());  // a test begins at the beginning of its data
  // 12 examples in 3 batches: the mean is a count over 12.
  CHECK(values.back() * 12 == doctest::Approx(std::round(values.back() * 12)));

  Solver stopping({.max_iter = 10}, param, {.threads = 1});
  stopping.set_training_data(random_examples(40, {6}, 1));
  stopping.set_callbacks({.stop = [&] { return stopping.iteration() == 3; }});
  stopping.solve();
  CHECK(stopping.iteration() == 3);

  // A run that goes on at a multiple of the interval tests there, as Caffe does.
  Solver again({.max_iter = 14, .test_interval = 4, .test_iter = 3}, param, {.threads = 1});
  again.set_training_data(random_examples(40, {6}, 1));
  again.set_test_data(random_examples(12, {6}, 2));
  again.step(8);
  std::vector<std::int64_t> testing;
  again.set_callbacks({.testing = [&](std::int64_t iteration) { testing.push_back(iteration); }});
  again.solve();
  CHECK(testing == std::vector<std::int64_t>{8, 12, 14});
}

TEST_CASE("a history outlives its solver") {
  Tensor history;
  {
    Solver solver({.base_lr = 0.1, .momentum = 0.9}, linear_net(4), {.threads = 1});
    solver.set_training_data(random_examples(12, {6}, 1));
    solver.step(2);
    history = solver.history();
  }
  CHECK_FALSE(equal(history, Tensor(history.shape())));
}

TEST_CASE("parameters of a solver that make no sense") {
  const auto refuse = [](SolverParam param, const char* message) {
    CHECK_THROWS_WITH_AS(Solver(param, linear_net(2)), message, Error);
  };
  refuse({.base_lr = -1}, "SolverParam: .base_lr is -1; a learning rate is a finite number not below 0");
  refuse({.iter_size = 0}, "SolverParam: .iter_size is 0; it counts passes and is at least 1");
  refuse({.average_loss = 0}, "SolverParam: .average_loss is 0; it counts losses and is at least 1");
  refuse({.test_interval = 5}, "SolverParam: .test_interval is 5 and .test_iter is 0: say how many batches a test has");
  refuse(
      {.rule = sgd(0.9), .momentum = 0.9},
      "SolverParam: .rule and .momentum are both given; the momentum belongs to the rule, as in sgd(0.9)");
  Solver solver({.test_iter = 1}, linear_net(2), {.threads = 1});
  CHECK_THROWS_WITH_AS(solver.test(), "a test needs data: call Solver::set_test_data first", Error);
}

TEST_CASE("a rule of the user's own joins without touching the solver") {
  struct SignSgd final : UpdateRule {
    std::string_view name() const override { return "sign sgd"; }
    int slots() const override { return 0; }
    void update(const UpdateArgs& args) const override {
      Tensor weights = args.weights;
      const auto w = weights.span<float>();
      const auto g = args.gradient.span<const float>();
      for (std::size_t i = 0; i < w.size(); ++i)
        w[i] -= static_cast<float>(args.rate) * static_cast<float>((g[i] > 0) - (g[i] < 0));
    }
  };
  Solver solver({.base_lr = 0.01, .rule = std::make_shared<SignSgd>()}, linear_net(10), {.threads = 1});
  solver.set_training_data(random_examples(10, {6}, 1));
  const double first = solver.step(), last = solver.step(100);
  CHECK(last < 0.8 * first);
}
