#include "sparknet/lr_policy.h"

#include <doctest/doctest.h>

#include <cmath>

#include "sparknet/error.h"

using namespace sparknet;

TEST_CASE("the seven learning-rate policies") {
  const auto rate = [](const LrPolicy& policy, std::int64_t iteration) {
    return learning_rate(policy, 0.01, iteration, 1000);
  };
  CHECK(rate(lr_policy::Fixed{}, 999) == 0.01);
  CHECK(rate(lr_policy::Step{.gamma = 0.1, .stepsize = 100}, 99) == doctest::Approx(0.01));
  CHECK(rate(lr_policy::Step{.gamma = 0.1, .stepsize = 100}, 100) == doctest::Approx(0.001));
  CHECK(rate(lr_policy::Step{.gamma = 0.1, .stepsize = 100}, 299) == doctest::Approx(0.0001));
  CHECK(rate(lr_policy::Exp{.gamma = 0.99}, 10) == doctest::Approx(0.01 * std::pow(0.99, 10)));
  // From Caffe's log of LeNet: lr = 0.00596843 at iteration 9900.
  CHECK(rate(lr_policy::Inv{.gamma = 0.0001, .power = 0.75}, 9900) == doctest::Approx(0.00596843).epsilon(1e-6));
  const lr_policy::MultiStep steps{.gamma = 0.5, .stepvalue = {10, 20}};
  CHECK(rate(steps, 9) == doctest::Approx(0.01));
  CHECK(rate(steps, 10) == doctest::Approx(0.005));
  CHECK(rate(steps, 25) == doctest::Approx(0.0025));
  CHECK(rate(lr_policy::Poly{.power = 2}, 500) == doctest::Approx(0.0025));
  CHECK(rate(lr_policy::Poly{.power = 2}, 1500) == 0);
  CHECK(rate(lr_policy::Sigmoid{.gamma = -0.1, .stepsize = 100}, 100) == doctest::Approx(0.005));
  CHECK(rate(lr_policy::Sigmoid{.gamma = -0.1, .stepsize = 100}, 110) == doctest::Approx(0.01 / (1 + std::exp(1))));
}

TEST_CASE("policies that make no sense") {
  CHECK_THROWS_WITH_AS(
      learning_rate(lr_policy::Step{.gamma = 0.1, .stepsize = 0}, 0.01, 0, 0),
      "lr_policy::Step: stepsize is 0; it must be above 0",
      Error);
  CHECK_THROWS_WITH_AS(
      learning_rate(lr_policy::Poly{.power = 1}, 0.01, 0, 0),
      "lr_policy::Poly: max_iter of the solver must be above 0",
      Error);
  CHECK_THROWS_WITH_AS(
      learning_rate(lr_policy::MultiStep{.gamma = 0.1, .stepvalue = {20, 10}}, 0.01, 0, 0),
      "lr_policy::MultiStep: stepvalue must be in rising order",
      Error);
}
