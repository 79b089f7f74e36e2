#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "sparknet/distributed/round_master.h"
#include "sparknet/layers/batch_norm.h"
#include "tests/distributed/training.h"
#include "tests/message_of.h"

// Gradients in common: synchronous SGD.

using namespace sparknet;
using namespace sparknet::testing;

namespace {

constexpr Dim kBatch = 4;

/// In two layers the same weights, between two that have their own.
NetParam sharing_net(Dim batch) {
  const auto shared = [](const char* name, const char* input) {
    return with(InnerProductLayer{name, {input}, {.num_output = 6}}, {.param = {{.name = "w"}, {.name = "b"}}});
  };
  return NetParam(
      "sharing",
      RDDLayer{"data", {batch, 6}},
      RDDLayer{"label", {batch}},
      InnerProductLayer{"first", {"data"}, {.num_output = 6}},
      shared("second", "first"),
      InnerProductLayer{"third", {"second"}, {.num_output = 6}},
      shared("fourth", "third"),
      InnerProductLayer{"fifth", {"fourth"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"fifth", "label"}});
}

AveragingOptions in_common(std::size_t bucket_bytes = 256, bool overlap = true, std::int64_t steps = 7) {
  return {
      .round = {.max_steps = steps},
      .gradients = SharedGradients{.bucket_bytes = bucket_bytes, .overlap = overlap}};
}

/// Counts sums of more than `least` elements.
class Counting final : public Communicator {
 public:
  Counting(Communicator& group, bool any_thread) : group_(group), any_thread_(any_thread) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  Attendance barrier(std::chrono::nanoseconds timeout, int quorum) override { return group_.barrier(timeout, quorum); }
  void broadcast(Tensor& values, int root) override { group_.broadcast(values, root); }
  void all_reduce_sum(Tensor& values) override { group_.all_reduce_sum(values); }
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    ++means;
    elements += values.count();
    (std::this_thread::get_id() == home_ ? at_home : elsewhere) += 1;
    group_.all_reduce_mean(values, scale, divisor);
  }
  bool works_on_any_thread() const override { return any_thread_; }

  std::atomic<int> means = 0, at_home = 0, elsewhere = 0;
  std::atomic<Dim> elements = 0;

 private:
  Communicator& group_;
  bool any_thread_;
  std::thread::id home_ = std::this_thread::get_id();
};

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("gradients in common are steps on a batch K times as large, for every update rule") {
    const SolverParam plain{.base_lr = 0.05, .weight_decay = 0.01, .max_iter = 16};
    SolverParam clipped = momentum, adam_rule = plain, rms = plain, passes = momentum;
    clipped.clip_gradients = 0.1;
    adam_rule.base_lr = rms.base_lr = 0.01;
    adam_rule.rule = adam();
    rms.rule = rmsprop();
    passes.iter_size = 3;
    for (const SolverParam& param : {momentum, clipped, adam_rule, rms, passes})
      for (const int workers : {2, 3})
        for (const auto& net : {small_net, sharing_net}) {
          const SourcePtr all = random_examples(kBatch * workers * 7, {6}, 1);
          Solver large(param, net(kBatch * workers), {.dtype = DType::F64, .threads = 1});
          large.set_training_data(all);
          large.step(param.max_iter);
          for (const bool overlap : {true, false}) {
            const auto found = train(workers, param, net(kBatch), in_common(256, overlap), [&](int rank) {
              return dealt(all, rank, workers, kBatch);
            });
            for (const WeightCollection& weights : found) {
              CHECK(weights == found[0]);
              CHECK(equal(weights, large.net().weights(), 1e-11));
            }
          }
        }
  }

  TEST_CASE("one worker with gradients in common is one machine, bit for bit") {
    Solver alone(momentum, branching_net(5), {.threads = 1});
    alone.set_training_data(random_examples(33, {2, 8, 8}, 1));
    alone.step(momentum.max_iter);
    const auto source = [](int) { return random_examples(33, {2, 8, 8}, 1); };
    const auto found = train(1, momentum, branching_net(5), in_common(), source, DType::F32);
    CHECK(found[0] == alone.net().weights());
  }

  TEST_CASE("neither the size of the buckets nor the thread that exchanges them is in the bits") {
    const auto source = [](int rank) { return random_examples(24, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    const auto wanted = train(3, momentum, sharing_net(kBatch), in_common(1 << 20, false), source, DType::F32);
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{100}, std::size_t{400}, std::size_t{1} << 20})
      for (const bool overlap : {true, false}) {
        const auto found = train(3, momentum, sharing_net(kBatch), in_common(bytes, overlap), source, DType::F32);
        CHECK(found[0] == wanted[0]);
        CHECK(found[2] == wanted[0]);
      }
  }

  TEST_CASE("workers count by the examples of their steps") {
    const SourcePtr all = random_examples(24, {6}, 1);
    Solver large(momentum, small_net(6), {.dtype = DType::F64, .threads = 1});
    large.set_training_data(all);
    large.step(momentum.max_iter);
    run_on_threads(2, [&](Communicator& group) {
      const Dim batch = group.rank() == 0 ? 4 : 2, first = group.rank() == 0 ? 0 : 4;
      AveragingSolver solver(momentum, small_net(batch), group, in_common(), {.dtype = DType::F64, .threads = 1});
      solver.solver().set_training_data(
          from_callback(all->columns(), 4 * batch, [=](Dim index, std::span<std::byte* const> out) {
            for (std::size_t c = 0; c < out.size(); ++c)
              std::memcpy(
                  out[c],
                  all->example(index / batch * 6 + first + index % batch, c, out[c]),
                  all->columns()[c].bytes());
          }));
      solver.solve();
      CHECK(equal(solver.weights(), large.net().weights(), 1e-12));
    });
  }

  TEST_CASE("what is counted and not learned takes the mean at the end of each round") {
    const NetParam net(
        "normalised",
        RDDLayer{"data", {kBatch, 6}},
        RDDLayer{"label", {kBatch}},
        InnerProductLayer{"ip", {"data"}, {.num_output = 5}},
        BatchNormLayer{"norm", {"ip"}},
        SoftmaxWithLoss{"loss", {"norm", "label"}});
    const auto source = [](int rank) { return random_examples(24, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    SolverParam param = momentum;
    param.base_lr = 0, param.max_iter = 5;
    std::vector<WeightCollection> alone;
    for (const int rank : {0, 1, 2}) {
      Solver solver(param, net, {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(source(rank));
      solver.step(5);
      alone.push_back(solver.net().weights());
    }
    const auto found = train(3, param, net, in_common(256, true, 5), source);
    CHECK(equal(found[0], mean(alone), 1e-13));
    CHECK(found[1] == found[0]);
    param = momentum;
    const auto learned = train(3, param, net, in_common(), source);
    CHECK(learned[1] == learned[0]);
    CHECK(learned[2] == learned[0]);
  }

  TEST_CASE("gradients go over in buckets, by a thread of their own where that is allowed") {
    // The parameters are the bytes 0 to 168, 192 to 220, 256 to 396 and 448 to 468 of the arena.
    const struct {
      std::size_t bytes;
      int buckets;
    } sizes[] = {{0, 4}, {210, 3}, {220, 2}, {468, 1}};
    for (const auto& size : sizes)
      for (const bool any_thread : {true, false})
        for (const bool overlap : {true, false})
          run_on_threads(2, [&](Communicator& threads) {
            Counting group(threads, any_thread);
            AveragingSolver solver(momentum, small_net(kBatch), group, in_common(size.bytes, overlap), {.threads = 1});
            solver.set_training_data(random_examples(24, {6}, 1));
            solver.round();
            CHECK(group.means == 7 * size.buckets);
            CHECK(group.elements >= 7 * 89);
            CHECK((any_thread && overlap ? group.at_home : group.elsewhere) == 0);
          });
  }

  TEST_CASE("what learns nothing is exchanged only between what learns") {
    NetParam net(
        "frozen",
        RDDLayer{"data", {kBatch, 6}},
        RDDLayer{"label", {kBatch}},
        InnerProductLayer{"first", {"data"}, {.num_output = 100, .lr_mult = {0, 0}}},
        InnerProductLayer{"second", {"first"}, {.num_output = 6}},
        InnerProductLayer{"third", {"second"}, {.num_output = 100, .lr_mult = {0, 0}}},
        InnerProductLayer{"fourth", {"third"}, {.num_output = 5}},
        SoftmaxWithLoss{"loss", {"fourth", "label"}});
    run_on_threads(2, [&](Communicator& threads) {
      Counting group(threads, true);
      AveragingSolver solver(momentum, net, group, in_common(3000), {.threads = 1});
      solver.set_training_data(random_examples(24, {6}, 1));
      const WeightCollection before = solver.weights();
      solver.solver().step();
      CHECK(group.means == 2);
      CHECK(group.elements < 606 + 505 + 32);
      const WeightCollection after = solver.weights();
      CHECK_UNARY(after["first"][0] == before["first"][0]);
      CHECK_FALSE(after["second"][0] == before["second"][0]);
    });
  }

  TEST_CASE("a worker whose labels are none does not spoil the others") {
    std::atomic<int> refused = 0;
    const std::string message = message_of([&] {
      run_on_threads(3, [&](Communicator& group) {
        AveragingSolver solver(momentum, small_net(kBatch), group, in_common(), {.dtype = DType::F64, .threads = 1});
        Tensor data({24, 6}), label({24});
        if (group.rank() == 1) label.set<float>(9, 13);
        solver.solver().set_training_data(from_tensors({{"data", data}, {"label", label}}));
        try {
          solver.solve();
        } catch (const std::exception&) {
          ++refused;
          const WeightCollection weights = solver.solver().net().weights();
          for (const double weight : weights.arena().span<double>()) CHECK(weight == weight);
          throw;
        }
      });
    });
    CHECK(refused == 3);
    CHECK(message.find("the label of example 1 is 9") != std::string::npos);
  }

  TEST_CASE("an exchange that fails is the step's error, and a bucket's gradients are its own") {
    run_on_threads(1, [&](Communicator& threads) {
      class Failing final : public Communicator {
       public:
        explicit Failing(Communicator& group) : group_(group) {}
        int rank() const override { return 0; }
        int size() const override { return 1; }
        void broadcast(Tensor& values, int root) override { group_.broadcast(values, root); }
        void all_reduce_sum(Tensor& values) override { group_.all_reduce_sum(values); }
        void all_reduce_mean(Tensor&, double, double) override {
          if (++calls == 6) throw Error("the cable is gone");
        }
        std::atomic<int> calls = 0;

       private:
        Communicator& group_;
      };
      for (const bool overlap : {true, false}) {
        Failing group(threads);
        AveragingSolver solver(momentum, small_net(kBatch), group, in_common(0, overlap), {.threads = 1});
        solver.set_training_data(random_examples(24, {6}, 1));
        solver.solver().step();
        const WeightCollection before = solver.weights();
        CHECK(message_of([&] { solver.solver().step(); }) == "the cable is gone");
        CHECK(solver.weights() == before);
        CHECK(solver.solver().iteration() == 1);
        solver.solver().step();
        CHECK_FALSE(solver.weights() == before);
      }
    });
  }

  TEST_CASE("a solver shows its gradients to a hook, and uses what that makes of them") {
    struct Doubling final : GradientHook {
      explicit Doubling(Net& of) : net(of) {}
      void begin() override { order.clear(); }
      void ready(std::size_t param) override { order.push_back(param); }
      void finish() override { net.gradient_arena().multiply(2.0); }
      Net& net;
      std::vector<std::size_t> order;
    };
    const SolverParam slow{.base_lr = 0.05, .max_iter = 5}, fast{.base_lr = 0.1, .max_iter = 5};
    Solver plain(fast, sharing_net(kBatch), {.dtype = DType::F64, .threads = 1});
    Solver hooked(slow, sharing_net(kBatch), {.dtype = DType::F64, .threads = 1});
    Doubling hook(hooked.net());
    hooked.set_gradient_hook(&hook);
    for (Solver* const solver : {&plain, &hooked}) {
      solver->set_training_data(random_examples(24, {6}, 1));
      solver->step(5);
    }
    CHECK(equal(plain.net().weights(), hooked.net().weights(), 1e-14));
    // first, w and b, third, fifth: w and b are complete when the second layer, their first, is behind.
    CHECK(hook.order == std::vector<std::size_t>{6, 7, 4, 5, 2, 3, 0, 1});
    hooked.set_gradient_hook(nullptr);
    hook.order.clear();
    hooked.step();
    CHECK(hook.order.empty());
  }

  TEST_CASE("what gradients in common leave no room for is refused") {
    run_on_threads(1, [&](Communicator& group) {
      const auto complaint = [&](AveragingOptions options) {
        options.gradients = SharedGradients{};
        return message_of([&] {
          AveragingSolver solver(momentum, small_net(kBatch), group, options, {.threads = 1});
          solver.set_training_data(random_examples(24, {6}, 1));
          solver.round();
        });
      };
      CHECK(
          complaint({.outer = [] { return diloco(); }}) ==
          "AveragingOptions: with .gradients in common there is nothing left for the outer optimizer \"outer sgd\" to "
          "do");
      CHECK(
          complaint({.quorum = 1}) ==
          "AveragingOptions: with .gradients in common every step needs all workers; .quorum is 1");
      CHECK(message_of([&] {
              RoundMaster(momentum, Net(small_net(kBatch)).weights(), 2, {.gradients = SharedGradients{}});
            }) == "AveragingOptions: a master's workers have no .gradients in common; AveragingSolver's can");
      for (const RoundPolicy& policy :
           {RoundPolicy{.max_examples = 8}, RoundPolicy{.max_time = std::chrono::seconds(1)}})
        CHECK(
            complaint({.round = policy}) ==
            "AveragingOptions: with .gradients in common a round ends by max_steps alone, for all workers at once");
    });
  }
}
