// The code of docs/averaging.md, held equal to the text by check_snippets.cmake.
#include <doctest/doctest.h>

#include "sparknet/sparknet.h"
#include "tests/nets.h"

using namespace sparknet;

// snippet: averaging
WeightCollection train_on_threads(int workers, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .momentum = 0.9, .max_iter = 200};
  WeightCollection weights;
  run_on_threads(workers, [&](Communicator& group) {
    AveragingSolver solver(param, net, group, {.round = {.max_steps = 10}}, {.threads = 1});
    solver.set_training_data(source);  // this worker's part of it
    solver.solve();
    if (group.rank() == 0) weights = solver.solver().net().weights();
  });
  return weights;
}
// end

TEST_SUITE("threads") {
  TEST_CASE("the program of docs/averaging.md learns") {
    const NetParam net = testing::small_lenet(8);
    const SourcePtr source = testing::random_examples(64, {1, 12, 12}, 1);
    Net before(net, {.threads = 1}), after(net, {.threads = 1});
    after.set_weights(train_on_threads(3, net, source));
    const auto loss = [&](Net& of) {
      of.set_data(source);
      double sum = 0;
      for (int i = 0; i < 8; ++i) sum += of.forward() / 8;
      return sum;
    };
    CHECK(loss(after) < 0.7 * loss(before));
  }
}
