#include "sparknet/distributed/round.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/distributed/training.h"

using namespace sparknet;
using namespace sparknet::testing;

TEST_SUITE("threads") {
  TEST_CASE("a warm-up is rounds of one step, and then the policy's") {
    std::vector<std::int64_t> taus;
    const auto warm = [] { return warm_up_rounds(4, {.max_steps = 6}); };
    train(
        2,
        momentum,
        small_net(4),
        {.schedule = warm},
        [](int) { return random_examples(40, {6}, 1); },
        DType::F64,
        [&](int rank, const RoundStats& stats) {
          if (rank == 0) taus.push_back(stats.max_steps);
        });
    CHECK(taus == std::vector<std::int64_t>{1, 1, 1, 1, 6, 6, 6, 6, 6, 6});
  }

  TEST_CASE("the drift is the mean square of the workers' distances from their mean") {
    const SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .max_iter = 5};
    std::vector<WeightCollection> alone;
    for (const int rank : {0, 1, 2}) {
      Solver solver(plain, small_net(4), {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)));
      solver.step(5);
      alone.push_back(solver.net().weights());
    }
    const Tensor centre = mean(alone).arena();
    double expected = 0;
    for (const WeightCollection& weights : alone) {
      const Tensor difference = weights.arena() - centre;
      for (const double x : difference.span<double>()) expected += x * x / 3;
    }
    train(
        3,
        plain,
        small_net(4),
        {.schedule = [] { return adaptive_tau({.initial = 5}); }},
        [](int rank) { return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)); },
        DType::F64,
        [&](int, const RoundStats& stats) { CHECK(stats.drift == doctest::Approx(expected).epsilon(1e-9)); });
  }

  TEST_CASE("tau grows while the drift is small for the rate, and shrinks while it is large") {
    const auto adaptive = adaptive_tau({.initial = 4, .least = 3, .most = 6, .sampling_rounds = 2});
    const auto tell = [&](double drift, double rate) {
      adaptive->after({.max_steps = adaptive->next(0).max_steps, .rate = rate, .drift = drift});
      return adaptive->next(0).max_steps;
    };
    CHECK(tell(2, 0.1) == 4);
    CHECK(tell(4, 0.1) == 4);  // the measure is now 30
    CHECK(tell(3, 0.1) == 4);
    CHECK(tell(2, 0.1) == 5);
    CHECK(tell(0, 0.1) == 6);
    CHECK(tell(0, 0.1) == 6);
    CHECK(tell(0.4, 0.01) == 5);
    for (int i = 0; i < 5; ++i) tell(9, 0.1);
    CHECK(adaptive->next(0).max_steps == 3);

    const auto copy = adaptive_tau({.initial = 4, .least = 3, .most = 6, .sampling_rounds = 2});
    copy->set_state(adaptive->state());
    CHECK(copy->next(0).max_steps == 3);
    copy->after({.max_steps = 3, .rate = 0.1, .drift = 0});
    CHECK(copy->next(0).max_steps == 4);
    CHECK_THROWS_WITH_AS(
        copy->set_state(std::vector<double>{std::nan(""), 0, 0}),
        "adaptive_tau: nobody makes nan steps after 0 rounds",
        Error);
    CHECK_THROWS_AS(copy->set_state(std::vector<double>{0, 0, 0}), Error);
    CHECK_THROWS_AS(copy->set_state(std::vector<double>{1e300, 0, 0}), Error);
    // A round that was cut short says nothing, nor does one in which nobody moved.
    copy->after({.max_steps = 2, .rate = 0.1, .drift = 0});
    CHECK(copy->next(0).max_steps == 4);
    copy->after({.max_steps = 4, .rate = 0, .drift = 1});
    CHECK(copy->next(0).max_steps == 4);
  }

  TEST_CASE("with the rate falling, tau rises: averages often early and seldom later") {
    SolverParam falling = momentum;
    falling.lr_policy = lr_policy::Inv{.gamma = 0.05, .power = 1};
    falling.momentum = 0;
    falling.max_iter = 1500;
    std::vector<std::int64_t> taus;
    train(
        3,
        falling,
        small_net(4),
        {.schedule = [] { return adaptive_tau({.initial = 2, .sampling_rounds = 10}); }},
        [](int rank) { return random_examples(400, {6}, 10 + static_cast<std::uint64_t>(rank)); },
        DType::F64,
        [&](int rank, const RoundStats& stats) {
          if (rank == 0) taus.push_back(stats.max_steps);
        });
    REQUIRE(taus.size() > 20);
    CHECK(taus[taus.size() - 2] >= 2 * taus[0]);
  }

  TEST_CASE("schedules that make no sense are refused") {
    CHECK_THROWS_AS(constant_rounds({.max_steps = 0}), Error);
    CHECK_THROWS_AS(warm_up_rounds(5, {.max_steps = 0}), Error);
    CHECK_THROWS_WITH_AS(
        adaptive_tau({.initial = 0}),
        "adaptive_tau: it needs 1 <= least <= initial <= most, and they are 1, 0 and 1000",
        Error);
    CHECK_THROWS_AS(adaptive_tau({.low = 1.5, .high = 1.2}), Error);
  }
}
