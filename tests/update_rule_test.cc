#include "sparknet/update_rule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kernels/kernels.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "sparknet/solver.h"
#include "tests/count_allocations.h"
#include "tests/nets.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

/// What a formula works on: g without the decay, decay * w or decay * sign(w), and t counted from 1.
struct Terms {
  double g, decay, rate, t;
  double &h, &h2;
};

/// A rule and its formula, in double and from the paper or Caffe's sources: what is taken from the weight.
struct Case {
  std::shared_ptr<const UpdateRule> rule;
  const char* name;
  int slots;
  double base_lr;
  double (*step)(const Terms&);
};

const Case cases[] = {
    {sgd(0.9),
     "sgd",
     1,
     0.05,
     [](const Terms& a) {
       a.h = 0.9 * a.h + a.rate * (a.g + a.decay);
       return a.h;
     }},
    {nesterov(0.9),
     "nesterov",
     1,
     0.05,
     [](const Terms& a) {
       const double before = a.h;
       a.h = 0.9 * a.h + a.rate * (a.g + a.decay);
       return 1.9 * a.h - 0.9 * before;
     }},
    {adagrad(1e-6),
     "adagrad",
     1,
     0.05,
     [](const Terms& a) {
       a.h += std::pow(a.g + a.decay, 2);
       return a.rate * (a.g + a.decay) / (std::sqrt(a.h) + 1e-6);
     }},
    {rmsprop({.rms_decay = 0.98}),
     "rmsprop",
     1,
     0.01,
     [](const Terms& a) {
       a.h = 0.98 * a.h + 0.02 * std::pow(a.g + a.decay, 2);
       return a.rate * (a.g + a.decay) / (std::sqrt(a.h) + 1e-8);
     }},
    {adadelta({.momentum = 0.95, .delta = 1e-6}),
     "adadelta",
     2,
     1,
     [](const Terms& a) {
       a.h = 0.95 * a.h + 0.05 * std::pow(a.g + a.decay, 2);
       const double u = std::sqrt(a.h2 + 1e-6) / std::sqrt(a.h + 1e-6) * (a.g + a.decay);
       a.h2 = 0.95 * a.h2 + 0.05 * std::pow(u, 2);
       return a.rate * u;
     }},
    // An epsilon that is seen, so that its place is too.
    {adam({.beta1 = 0.8, .epsilon = 1e-3}),
     "adam",
     2,
     0.01,
     [](const Terms& a) {
       a.h = 0.8 * a.h + 0.2 * (a.g + a.decay);
       a.h2 = 0.999 * a.h2 + 0.001 * std::pow(a.g + a.decay, 2);
       const double correction = std::sqrt(1 - std::pow(0.999, a.t)) / (1 - std::pow(0.8, a.t));
       return a.rate * correction * a.h / (std::sqrt(a.h2) + 1e-3);
     }},
    {adamw({.beta2 = 0.99, .epsilon = 1e-3}),
     "adamw",
     2,
     0.01,
     [](const Terms& a) {
       a.h = 0.9 * a.h + 0.1 * a.g;
       a.h2 = 0.99 * a.h2 + 0.01 * std::pow(a.g, 2);
       const double m = a.h / (1 - std::pow(0.9, a.t)), v = a.h2 / (1 - std::pow(0.99, a.t));
       return a.rate * (m / (std::sqrt(v) + 1e-3) + a.decay);
     }},
};

double sign(double x) {
  return (x > 0) - (x < 0);
}

/// Weights, gradients and history of a rule that is called by itself.
template <class T>
struct Problem {
  Problem(const UpdateRule& rule, Dim count) : weights({count}, dtype_of<T>), gradient({count}, dtype_of<T>) {
    for (int i = 0; i < rule.slots(); ++i) slots.emplace_back(Shape(count), dtype_of<T>);
    draw(weights);
    weights.set<T>(0, count / 2);
  }
  void draw(Tensor& tensor) {
    for (T& value : tensor.span<T>()) value = static_cast<T>(numbers(engine));
  }

  std::mt19937 engine{7};
  std::normal_distribution<double> numbers;
  Tensor weights, gradient;
  std::vector<Tensor> slots;
};

NetParam linear_net(Dim batch) {
  return NetParam(
      "linear",
      RDDLayer{"data", {batch, 6}},
      RDDLayer{"label", {batch}},
      InnerProductLayer{"hidden", {"data"}, {.num_output = 7, .lr_mult = {1, 2}, .decay_mult = {1, 0}}},
      InnerProductLayer{"ip", {"hidden"}, {.num_output = 5, .lr_mult = {0.5, 1}}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}

}  // namespace

TEST_CASE_TEMPLATE("an update rule follows its formula on every instruction set", T, float, double) {
  for (const Case& c : cases)
    for (const kernels::Isa isa : {kernels::Isa::Portable, kernels::Isa::V3, kernels::Isa::V4}) {
      if (isa > kernels::best_isa()) continue;
      const auto backend = kernels::make_cpu_backend(1, isa);
      for (const bool l1 : {false, true})
        for (const Dim count : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
          Problem<T> p(*c.rule, count);
          const auto n = static_cast<std::size_t>(count);
          std::vector<double> w(n), h(n), h2(n);
          for (std::size_t i = 0; i < n; ++i) w[i] = static_cast<double>(p.weights.template span<T>()[i]);
          for (int iteration = 0; iteration < 200; ++iteration) {
            p.draw(p.gradient);
            const double rate = c.base_lr / (1 + 0.01 * iteration), scale = iteration % 3 == 0 ? 0.25 : 1.5;
            c.rule->update(
                {.backend = *backend,
                 .weights = p.weights,
                 .gradient = p.gradient,
                 .slots = p.slots,
                 .rate = rate,
                 .decay = 0.02,
                 .gradient_scale = scale,
                 .l1 = l1,
                 .iteration = iteration});
            for (std::size_t i = 0; i < n; ++i) {
              const double g = scale * static_cast<double>(p.gradient.template span<T>()[i]);
              w[i] -= c.step({g, 0.02 * (l1 ? sign(w[i]) : w[i]), rate, iteration + 1.0, h[i], h2[i]});
            }
          }
          double error = 0;
          const auto compare = [&](const Tensor& tensor, const std::vector<double>& expected) {
            for (std::size_t i = 0; i < n; ++i) {
              const double difference = std::abs(static_cast<double>(tensor.span<T>()[i]) - expected[i]);
              error = std::max(error, difference / std::max(1.0, std::abs(expected[i])));
            }
          };
          compare(p.weights, w);
          compare(p.slots[0], h);
          if (c.slots == 2) compare(p.slots[1], h2);
          CAPTURE(c.name);
          CAPTURE(count);
          CHECK(error < (sizeof(T) == 4 ? 1e-5 : 2e-14));
        }
    }
}

TEST_CASE("an update is the same on any number of threads") {
  for (const Case& c : cases) {
    std::vector<Tensor> weights;
    for (const int threads : {1, 3}) {
      const auto backend = kernels::make_cpu_backend(threads);
      Problem<float> p(*c.rule, 100003);
      for (int iteration = 0; iteration < 3; ++iteration) {
        p.draw(p.gradient);
        c.rule->update(
            {.backend = *backend,
             .weights = p.weights,
             .gradient = p.gradient,
             .slots = p.slots,
             .rate = c.base_lr,
             .decay = 0.01,
             .gradient_scale = 1,
             .l1 = false,
             .iteration = iteration});
      }
      weights.push_back(p.weights);
    }
    CAPTURE(c.name);
    CHECK(weights[0] == weights[1]);
  }
}

TEST_CASE("a solver follows the formula of its rule for many steps") {
  for (const Case& c : cases) {
    const SolverParam plain{.base_lr = c.base_lr, .rule = c.rule, .max_iter = 200};
    std::vector<SolverParam> params(6, plain);
    params[1].lr_policy = lr_policy::Inv{.gamma = 0.01, .power = 0.75};
    params[1].weight_decay = 0.01;
    params[2].lr_policy = lr_policy::Step{.gamma = 0.5, .stepsize = 50};
    params[2].weight_decay = 0.01;
    params[2].regularization = Regularization::L1;
    params[3].lr_policy = lr_policy::Poly{.power = 2};
    params[3].iter_size = 3;
    params[4].lr_policy = lr_policy::Exp{.gamma = 0.99};
    params[4].iter_size = 2;
    params[4].clip_gradients = 0.3;
    params[5].clip_gradients = 0.1;
    params[5].weight_decay = 0.1;
    for (std::size_t at = 0; at < params.size(); ++at) {
      const SolverParam& param = params[at];
      const NetOptions options{.dtype = DType::F64, .threads = 1};
      Solver solver(param, linear_net(4), options);
      Net net(linear_net(4), options);
      solver.set_training_data(random_examples(13, {6}, 1));
      net.set_data(random_examples(13, {6}, 1));
      Tensor weights = net.param_arena();
      std::vector<double> h(static_cast<std::size_t>(weights.count())), h2 = h;
      for (int iteration = 0; iteration < 200; ++iteration) {
        solver.step();
        net.clear_gradients();
        for (int pass = 0; pass < param.iter_size; ++pass) net.forward(), net.backward();
        const Tensor gradients = net.gradient_arena();
        double squares = 0;
        for (Dim i = 0; i < gradients.count(); ++i) squares += std::pow(gradients.get<double>(i), 2);
        const double norm = std::sqrt(squares), most = param.clip_gradients;
        const double scale = (most > 0 && norm > most ? most / norm : 1) / param.iter_size;
        const double rate = learning_rate(param.lr_policy, param.base_lr, iteration, param.max_iter);
        for (const ParamInfo& p : net.params())
          for (Dim i = p.offset; i < p.offset + p.shape.count(); ++i) {
            const double w = weights.get<double>(i);
            const double decay =
                param.weight_decay * p.decay_mult * (param.regularization == Regularization::L1 ? sign(w) : w);
            const auto j = static_cast<std::size_t>(i);
            const Terms terms{scale * gradients.get<double>(i), decay, rate * p.lr_mult, iteration + 1.0, h[j], h2[j]};
            weights.set<double>(w - c.step(terms), i);
          }
      }
      CAPTURE(c.name);
      CAPTURE(at);
      CHECK(equal(solver.net().weights(), net.weights(), 1e-11));
    }
  }
}

TEST_CASE("a net learns with every update rule, without allocating") {
  for (const Case& c : cases) {
    Solver solver({.base_lr = c.base_lr, .rule = c.rule}, linear_net(10), {.threads = 1});
    solver.set_training_data(random_examples(10, {6}, 1));
    const double first = solver.step();
    solver.step(5);
    const std::size_t before = allocations();
    const double last = solver.step(200);
    CHECK(allocations() == before);
    CAPTURE(c.name);
    CHECK(last < 0.5 * first);
    CHECK(solver.rule().name() == c.name);
    CHECK(solver.rule().slots() == c.slots);
  }
}

TEST_CASE("with every update rule a resumed run ends with the bits of one that never stopped") {
  const TempDir dir;
  for (const Case& c : cases) {
    const auto make = [&] {
      Solver solver({.base_lr = c.base_lr, .rule = c.rule, .weight_decay = 0.001}, branching_net(5), {.threads = 2});
      solver.set_training_data(random_examples(33, {2, 8, 8}, 1));
      return solver;
    };
    Solver whole = make();
    whole.step(7);
    whole.snapshot(dir / c.name);
    whole.step(10);
    Solver resumed = make();
    resumed.step(3);
    resumed.restore(dir / c.name);
    resumed.step(10);
    CAPTURE(c.name);
    CHECK(resumed.net().weights() == whole.net().weights());
    for (int slot = 0; slot < c.slots; ++slot) CHECK(resumed.history(slot) == whole.history(slot));
  }
  Solver other({.rule = adamw()}, branching_net(5), {.threads = 1});
  const std::string file = (dir / "adam").string();
  CHECK_THROWS_WITH_AS(
      other.restore(file),
      (file + ": was written by the update rule \"adam\", and this solver's is \"adamw\"").c_str(),
      DataError);
}

TEST_CASE("numbers of an update rule that make no sense") {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const auto refuse = [](auto&& make, const char* message) { CHECK_THROWS_WITH_AS(make(), message, Error); };
  refuse([] { sgd(1.5); }, "sgd: momentum is 1.5; it is at least 0 and less than 1");
  refuse([] { nesterov(-0.1); }, "nesterov: momentum is -0.1; it is at least 0 and less than 1");
  refuse([] { nesterov(1); }, "nesterov: momentum is 1; it is at least 0 and less than 1");
  refuse([] { adagrad(0); }, "adagrad: delta is 0; it is a finite number above 0");
  refuse([&] { adagrad(infinity); }, "adagrad: delta is inf; it is a finite number above 0");
  refuse([&] { rmsprop({.rms_decay = nan}); }, "rmsprop: rms_decay is nan; it is at least 0 and less than 1");
  refuse([] { rmsprop({.delta = -1}); }, "rmsprop: delta is -1; it is a finite number above 0");
  refuse([] { adadelta({.momentum = 2}); }, "adadelta: momentum is 2; it is at least 0 and less than 1");
  refuse([] { adadelta({.delta = 0}); }, "adadelta: delta is 0; it is a finite number above 0");
  refuse([] { adam({.beta1 = 1}); }, "adam: beta1 is 1; it is at least 0 and less than 1");
  refuse([] { adam({.beta2 = -1}); }, "adam: beta2 is -1; it is at least 0 and less than 1");
  refuse([] { adamw({.epsilon = 0}); }, "adamw: epsilon is 0; it is a finite number above 0");
}
