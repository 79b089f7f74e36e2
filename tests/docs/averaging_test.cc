// The code of docs/averaging.md, held equal to the text by check_snippets.cmake.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "sparknet/sparknet.h"
#include "tests/nets.h"

using namespace sparknet;

// snippet: averaging
WeightCollection train_on_threads(int workers, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .momentum = 0.9, .max_iter = 200};
  WeightCollection weights;
  run_on_threads(workers, [&](Communicator& group) {
    AveragingSolver solver(param, net, group, {.round = {.max_steps = 10}}, {.threads = 1});
    solver.solve(source);  // each worker takes its part
    if (group.rank() == 0) weights = solver.weights();
  });
  return weights;
}
// end

// snippet: gradients
WeightCollection train_in_step(int workers, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .rule = adam(), .max_iter = 200};
  WeightCollection weights;
  run_on_threads(workers, [&](Communicator& group) {
    AveragingSolver solver(param, net, group, {.gradients = SharedGradients{}}, {.threads = 1});
    solver.solve(source);
    if (group.rank() == 0) weights = solver.weights();
  });
  return weights;
}
// end

// snippet: loop
WeightCollection train_by_hand(int workers, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .momentum = 0.9};
  Workers<Solver> nets(workers, [&](int index) {
    Solver solver(param, net, {.threads = 1});
    solver.set_training_data(partition(source, index, workers));
    return solver;
  });
  WeightCollection weights = nets[0].net().weights();
  for (int round = 0; round < 4; ++round) {
    nets.for_each([&](Solver& solver) { solver.net().set_weights(weights); });
    weights = mean(nets.map([](Solver& solver) {
      solver.step(50);
      return solver.net().weights();
    }));
  }
  return weights;
}
// end

// snippet: rounds
WeightCollection train_by_tasks(int workers, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .momentum = 0.9, .max_iter = 200};
  RoundMaster master(
      param,
      Net(net).weights(),
      workers,
      {.round = {.max_steps = 10}, .history = SolverHistory::Reset, .quorum = 1});
  while (!master.done()) {
    const std::vector<std::byte> task = encode(master.task());  // what an engine would broadcast
    std::vector<Contribution> parts;
    for (int worker = 0; worker < workers; ++worker) {  // anywhere, in any order, and again where one was lost
      Solver solver(param, net, {.threads = 1});
      solver.set_training_data(partition(source, worker, workers));
      parts.push_back(run_round_task(solver, decode_round_task(task), worker));
    }
    master.apply(std::move(parts));
  }
  return master.weights();
}
// end

namespace {

// snippet: communicator
class SlowNetwork final : public Communicator {
 public:
  SlowNetwork(Communicator& fast, std::chrono::nanoseconds delay) : fast_(fast), delay_(delay) {}

  int rank() const override { return fast_.rank(); }
  int size() const override { return fast_.size(); }
  Attendance barrier(std::chrono::nanoseconds timeout, int quorum) override { return fast_.barrier(timeout, quorum); }
  void broadcast(Tensor& values, int root) override { fast_.broadcast(values, root); }
  void all_reduce_sum(Tensor& values) override { fast_.all_reduce_sum(values); }
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    std::this_thread::sleep_for(delay_);
    fast_.all_reduce_mean(values, scale, divisor);
  }

 private:
  Communicator& fast_;
  std::chrono::nanoseconds delay_;
};
// end

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("the programs of docs/averaging.md learn") {
    const NetParam net = testing::small_lenet(8);
    const SourcePtr source = testing::random_examples(64, {1, 12, 12}, 1);
    const auto loss = [&](const WeightCollection& weights) {
      Net of(net, {.threads = 1});
      of.set_weights(weights);
      of.set_data(source);
      double sum = 0;
      for (int i = 0; i < 8; ++i) sum += of.forward() / 8;
      return sum;
    };
    const double before = loss(Net(net, {.threads = 1}).weights());
    for (const auto train : {train_on_threads, train_in_step, train_by_hand, train_by_tasks})
      CHECK(loss(train(3, net, source)) < 0.7 * before);
  }

  TEST_CASE("the communicator of docs/averaging.md changes the time and nothing else") {
    const NetParam net = testing::small_lenet(8);
    const SourcePtr source = testing::random_examples(64, {1, 12, 12}, 1);
    std::vector<WeightCollection> weights(2);
    for (const int slow : {0, 1})
      run_on_threads(2, [&](Communicator& group) {
        SlowNetwork network(group, std::chrono::milliseconds(20 * slow));
        AveragingSolver solver(
            {.base_lr = 0.01, .max_iter = 6},
            net,
            network,
            {.round = {.max_steps = 2}},
            {.threads = 1});
        solver.set_callbacks({.after_round = [&](const RoundStats& stats) {
          CHECK(stats.exchange_time >= std::chrono::milliseconds(20 * slow));
        }});
        solver.solve(source);
        if (group.rank() == 0) weights[static_cast<std::size_t>(slow)] = solver.weights();
      });
    CHECK(weights[0] == weights[1]);
  }
}
