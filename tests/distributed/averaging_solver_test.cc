#include "sparknet/distributed/averaging_solver.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "tests/distributed/training.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

/// An input that brings its own examples.
struct BringingLayer {
  static constexpr std::string_view type = "BringingLayer";
  std::string name;
  Dim batch;
  SourcePtr source;
  Where where = Where::here();

  std::vector<std::string> tops() const { return {"data", "label"}; }
  std::span<const std::string> inputs() const { return {}; }
  std::vector<Shape> infer(std::span<const Shape>) const { return {{batch, 6}, {batch}}; }
  std::unique_ptr<Layer> make() const { return nullptr; }
  std::optional<LayerFeed> feed(Phase) const { return LayerFeed{source, {}}; }
  bool operator==(const BringingLayer&) const = default;
};

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("layers that bring their own examples have a part for each worker") {
    const SourcePtr all = random_examples(31, {6}, 1);
    const AveragingOptions options{.round = {.max_steps = 3}};
    const NetParam given = small_net(4);
    NetParam bringing("bringing", BringingLayer{"examples", 4, all});
    for (std::size_t i = 2; i < given.layers.size(); ++i) bringing.add(given.layers[i]);
    const auto wanted = train(3, momentum, given, options, [&](int rank) { return partition(all, rank, 3); });

    run_on_threads(3, [&](Communicator& group) {
      AveragingSolver solver(momentum, bringing, group, options, {.dtype = DType::F64, .threads = 1});
      solver.solve();
      const Tensor weights = solver.solver().net().param_arena();
      CHECK(weights == wanted[0].arena());
    });

    const Net test(bringing, {.phase = Phase::Test, .parts = 40});
    std::string text;
    try {
      Net(bringing, {.part = 2, .parts = 40});
    } catch (const NetError& error) {
      text = error.what();
    }
    CHECK(text.find("40 parts of 31 examples; a part would be empty, so take fewer parts") != std::string::npos);
  }

  TEST_CASE("one worker is one machine, bit for bit") {
    for (const Weighting weighting : {Weighting::Uniform, Weighting::Examples, Weighting::Steps}) {
      Solver alone(momentum, branching_net(5), {.threads = 1});
      alone.set_training_data(random_examples(33, {2, 8, 8}, 1));
      alone.step(momentum.max_iter);
      const auto averaged = train(
          1,
          momentum,
          branching_net(5),
          {.round = {.max_steps = 7}, .weighting = weighting},
          [](int) {
            return random_examples(33, {2, 8, 8}, 1);
          },
          DType::F32);
      CHECK(averaged[0] == alone.net().weights());
    }
  }

  TEST_CASE("rounds of one step on K workers are steps on a batch K times as large") {
    for (const int workers : {2, 3, 4}) {
      const Dim batch = 4;
      const SourcePtr all = random_examples(batch * workers * 7, {6}, 1);
      Solver large(momentum, small_net(batch * workers), {.dtype = DType::F64, .threads = 1});
      large.set_training_data(all);
      large.step(momentum.max_iter);
      const auto averaged = train(workers, momentum, small_net(batch), {.round = {.max_steps = 1}}, [&](int rank) {
        return dealt(all, rank, workers, batch);
      });
      for (const WeightCollection& weights : averaged) {
        CHECK(weights == averaged[0]);
        CHECK(equal(weights, large.net().weights(), 1e-12));
      }
    }
  }

  TEST_CASE("the same in f32, and with Nesterov's momentum") {
    const Dim batch = 4;
    const int workers = 3;
    const SourcePtr all = random_examples(batch * workers * 7, {6}, 1);
    const SolverParam look_ahead{.base_lr = 0.02, .rule = nesterov(0.9), .weight_decay = 0.001, .max_iter = 20};
    SolverParam sgd = momentum;
    sgd.max_iter = 20;
    for (const SolverParam& param : {sgd, look_ahead})
      for (const DType dtype : {DType::F32, DType::F64}) {
        Solver large(param, small_net(batch * workers), {.dtype = dtype, .threads = 1});
        large.set_training_data(all);
        large.step(param.max_iter);
        const auto averaged = train(
            workers,
            param,
            small_net(batch),
            {.round = {.max_steps = 1}},
            [&](int rank) { return dealt(all, rank, workers, batch); },
            dtype);
        CHECK(equal(averaged[0], large.net().weights(), dtype == DType::F32 ? 1e-6 : 1e-12));
      }
  }

  TEST_CASE("a round ends with the mean of what the workers would have made of it alone") {
    const SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .max_iter = 5};
    const auto source = [](int rank) { return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    std::vector<WeightCollection> alone;
    for (const int rank : {0, 1, 2}) {
      Solver solver(plain, small_net(4), {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(source(rank));
      solver.step(5);
      alone.push_back(solver.net().weights());
    }
    const auto averaged = train(3, plain, small_net(4), {.round = {.max_steps = 5}}, source);
    CHECK(equal(averaged[2], mean(alone), 1e-15));
  }

  TEST_CASE("uneven workers count by their examples") {
    // A worker of batch 6 and one of batch 2; one step each.
    const SolverParam plain{.base_lr = 0.05, .max_iter = 1};
    std::vector<WeightCollection> alone, together(2);
    for (const Dim batch : {6, 2}) {
      Solver solver(plain, small_net(batch), {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(random_examples(40, {6}, static_cast<std::uint64_t>(batch)));
      solver.step();
      alone.push_back(solver.net().weights());
    }
    run_on_threads(2, [&](Communicator& group) {
      const Dim batch = group.rank() == 0 ? 6 : 2;
      AveragingSolver solver(plain, small_net(batch), group, {}, {.dtype = DType::F64, .threads = 1});
      solver.solver().set_training_data(random_examples(40, {6}, static_cast<std::uint64_t>(batch)));
      solver.set_callbacks({.after_round = [](const RoundStats& stats) { CHECK(stats.examples == 8); }});
      solver.solve();
      together[static_cast<std::size_t>(group.rank())] = solver.solver().net().weights();
    });
    const Tensor expected = alone[0].arena() * 0.75 + alone[1].arena() * 0.25;
    CHECK(equal(together[0].arena(), expected, 1e-15));
    CHECK(together[0] == together[1]);
  }

  TEST_CASE("a slow worker and a fast one with the same time count for what they did") {
    std::vector<WeightCollection> ended(2), averaged(2);
    std::vector<std::int64_t> examples(2);
    run_on_threads(2, [&](Communicator& group) {
      const auto at = static_cast<std::size_t>(group.rank());
      const Dim batch = group.rank() == 0 ? 4 : 8;
      SolverParam param = momentum;
      param.max_iter = 1000000;
      Solver solver(param, small_net(batch), {.dtype = DType::F64, .threads = 1});
      const SourcePtr source = random_examples(40, {6}, 10 + at);
      solver.set_training_data(
          from_callback(
              source->columns(),
              source->size(),
              [&, source](Dim index, std::span<std::byte* const> out) {
                if (group.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                for (std::size_t c = 0; c < out.size(); ++c)
                  std::memcpy(out[c], source->example(index, c, out[c]), source->columns()[c].bytes());
              }),
          {.prefetch = 0});
      AveragingSolver averaging(solver, group, {.round = {.max_steps = 0, .max_time = std::chrono::milliseconds(40)}});
      averaging.set_callbacks({.stop = [&] {
        ended[at] = solver.net().weights();
        examples[at] = solver.iteration() * batch;
        return false;
      }});
      const RoundStats stats = averaging.round();
      averaged[at] = averaging.weights();
      CHECK(stats.examples == examples[0] + examples[1]);
      CHECK(stats.train_time >= std::chrono::milliseconds(40));
    });
    CHECK(examples[0] > examples[1]);
    const double all = static_cast<double>(examples[0] + examples[1]);
    const Tensor expected = ended[0].arena() * (static_cast<double>(examples[0]) / all) +
                            ended[1].arena() * (static_cast<double>(examples[1]) / all);
    CHECK(equal(averaged[0].arena(), expected, 1e-13));
    CHECK(averaged[0] == averaged[1]);
  }

  TEST_CASE("outer SGD follows its formula, with and without Nesterov's look-ahead") {
    for (const bool nesterov : {false, true}) {
      const SolverParam plain{.base_lr = 0.05, .max_iter = 12};
      const OuterSgdOptions outer{.lr = 0.7, .momentum = 0.9, .nesterov = nesterov};
      const auto averaged = train(
          1,
          plain,
          small_net(4),
          {.round = {.max_steps = 3}, .outer = [&] { return outer_sgd(outer); }},
          [](int) { return random_examples(40, {6}, 1); });

      Solver solver(plain, small_net(4), {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(random_examples(40, {6}, 1));
      Tensor weights = solver.net().param_arena(), velocity(weights.shape(), DType::F64);
      for (int round = 0; round < 4; ++round) {
        const Tensor start = weights.copy();
        solver.step(3);
        const Tensor gradient = start - weights;
        velocity = velocity * 0.9 + gradient;
        const Tensor direction = nesterov ? gradient + velocity * 0.9 : velocity;
        weights.copy_from(start - direction * 0.7);
      }
      CHECK(equal(averaged[0], solver.net().weights(), 1e-14));
    }
  }

  TEST_CASE("SlowMo is outer SGD while the rate is constant, and rescales its momentum when it falls") {
    const auto source = [](int rank) { return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .max_iter = 30};
    AveragingOptions sgd{.round = {.max_steps = 5}, .outer = [] { return outer_sgd({.lr = 0.8, .momentum = 0.5}); }};
    AveragingOptions slow{.round = {.max_steps = 5}, .outer = [] { return slowmo({.lr = 0.8, .momentum = 0.5}); }};
    CHECK(equal(train(2, plain, small_net(4), sgd, source)[0], train(2, plain, small_net(4), slow, source)[1], 1e-12));

    plain.lr_policy = lr_policy::Step{.gamma = 0.1, .stepsize = 5};
    plain.momentum = 0;
    plain.max_iter = 10;
    Solver solver(plain, small_net(4), {.dtype = DType::F64, .threads = 1});
    solver.set_training_data(source(0));
    Tensor weights = solver.net().param_arena(), u(weights.shape(), DType::F64);
    for (const double rate : {0.05, 0.005}) {
      const Tensor start = weights.copy();
      solver.step(5);
      u = u * 0.5 + (start - weights) / rate;
      weights.copy_from(start - u * (0.8 * rate));
    }
    CHECK(equal(train(1, plain, small_net(4), slow, source)[0], solver.net().weights(), 1e-13));
  }

  TEST_CASE("elastic averaging draws workers to a centre and the centre to their mean") {
    const auto source = [](int rank) { return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    const SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .max_iter = 9};
    std::vector<std::unique_ptr<Solver>> solvers;
    for (const int rank : {0, 1}) {
      solvers.push_back(std::make_unique<Solver>(plain, small_net(4), NetOptions{.dtype = DType::F64, .threads = 1}));
      solvers.back()->set_training_data(source(rank));
    }
    Tensor centre = solvers[0]->net().param_arena().copy();
    for (int round = 0; round < 3; ++round) {
      Tensor sum(centre.shape(), DType::F64);
      for (const auto& solver : solvers) {
        solver->step(3);
        sum.add(solver->net().param_arena());
      }
      for (const auto& solver : solvers) {
        Tensor x = solver->net().param_arena();
        x.copy_from(x - (x - centre) * 0.4);
      }
      centre = centre + (sum / 2 - centre) * 0.8;
    }
    run_on_threads(2, [&](Communicator& group) {
      AveragingSolver solver(
          plain,
          small_net(4),
          group,
          {.round = {.max_steps = 3}, .outer = [] { return elastic_average({.beta = 0.8}); }},
          {.dtype = DType::F64, .threads = 1});
      solver.solver().set_training_data(source(group.rank()));
      for (int round = 0; round < 3; ++round) solver.round();
      const Tensor own = solvers[static_cast<std::size_t>(group.rank())]->net().param_arena();
      CHECK(equal(solver.solver().net().param_arena(), own, 1e-14));
      CHECK(equal(solver.weights().arena(), centre, 1e-14));
      solver.solve();  // nothing is left to do but to take the centre
      CHECK(solver.solver().net().param_arena() == solver.weights().arena());
    });
  }

  TEST_CASE("an outer optimizer acts on what is learned; the rest takes the mean") {
    run_on_threads(2, [](Communicator& group) {
      const NetParam net(
          "half",
          RDDLayer{"data", {4, 6}},
          RDDLayer{"label", {4}},
          InnerProductLayer{"fixed", {"data"}, {.num_output = 7, .lr_mult = {0, 0}}},
          InnerProductLayer{"ip", {"fixed"}, {.num_output = 5}},
          SoftmaxWithLoss{"loss", {"ip", "label"}});
      AveragingSolver solver(
          {.base_lr = 0.05, .max_iter = 10},
          net,
          group,
          {.round = {.max_steps = 2}, .outer = [] { return outer_sgd({.lr = 0.5, .momentum = 0.9}); }},
          {.dtype = DType::F64, .threads = 1});
      solver.set_training_data(random_examples(40, {6}, 1));
      solver.round();
      // As a layer would that keeps statistics there.
      Tensor fixed = solver.solver().net().weights()["fixed"][0];
      Tensor arena = solver.solver().net().param_arena();
      const ParamInfo& info = solver.solver().net().params()[0];
      Tensor mine = arena.subarray(Shape(info.offset), Shape(info.offset + info.shape.count()));
      mine.fill(group.rank() == 0 ? 3 : 5);
      const Tensor before = arena.copy();
      solver.round();
      CHECK(mine.get<double>(0) == 4);
      CHECK(mine.get<double>(info.shape.count() - 1) == 4);
      CHECK_FALSE(arena == before);
    });
  }

  TEST_CASE("an averaged history is the mean, and lets a round of one step be one of a larger batch") {
    const Dim batch = 4;
    const int workers = 3;
    const SourcePtr all = random_examples(batch * workers * 7, {6}, 1);
    Solver large(momentum, small_net(batch * workers), {.dtype = DType::F64, .threads = 1});
    large.set_training_data(all);
    large.step(20);
    run_on_threads(workers, [&](Communicator& group) {
      AveragingSolver solver(
          momentum,
          small_net(batch),
          group,
          {.round = {.max_steps = 1}, .history = SolverHistory::Average},
          {.dtype = DType::F64, .threads = 1});
      solver.solver().set_training_data(dealt(all, group.rank(), workers, batch));
      for (int round = 0; round < 20; ++round) solver.round();
      CHECK(equal(solver.solver().net().param_arena(), large.net().param_arena(), 1e-12));
      CHECK(equal(solver.solver().history(), large.history(), 1e-12));
    });
  }

  TEST_CASE("one worker is one machine for every update rule") {
    for (const auto& rule : {nesterov(0.9), adagrad(), rmsprop(), adadelta(), adam(), adamw()}) {
      CAPTURE(rule->name());
      const SolverParam param{.base_lr = 0.01, .rule = rule, .weight_decay = 0.001, .max_iter = 20};
      Solver alone(param, branching_net(5), {.threads = 1});
      alone.set_training_data(random_examples(33, {2, 8, 8}, 1));
      alone.step(20);
      for (const SolverHistory history : {SolverHistory::Keep, SolverHistory::Average}) {
        const auto averaged = train(
            1,
            param,
            branching_net(5),
            {.round = {.max_steps = 7}, .history = history},
            [](int) {
              return random_examples(33, {2, 8, 8}, 1);
            },
            DType::F32);
        CHECK(averaged[0] == alone.net().weights());
      }
    }
  }

  TEST_CASE("plain averaging is outer SGD with lr 1 and no momentum") {
    const auto source = [](int rank) { return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank)); };
    const AveragingOptions average{.round = {.max_steps = 5}};
    AveragingOptions sgd = average;
    sgd.outer = [] { return outer_sgd({}); };
    CHECK(equal(
        train(3, momentum, small_net(4), average, source)[0],
        train(3, momentum, small_net(4), sgd, source)[0],
        1e-13));
  }

  TEST_CASE("history is reset where that is asked for") {
    const auto source = [](int) { return random_examples(40, {6}, 1); };
    AveragingOptions options{.round = {.max_steps = 5}, .history = SolverHistory::Reset};
    const auto averaged = train(1, momentum, small_net(4), options, source);
    Solver solver(momentum, small_net(4), {.dtype = DType::F64, .threads = 1});
    solver.set_training_data(source(0));
    for (int round = 0; round < 8; ++round) {
      solver.step(5);
      solver.reset_history();
    }
    CHECK(averaged[0] == solver.net().weights());
    options.history = SolverHistory::Keep;
    CHECK_FALSE(train(1, momentum, small_net(4), options, source)[0] == averaged[0]);
  }

  TEST_CASE("a worker whose weights are not finite is left out and taken back in") {
    std::vector<int> rejected;
    std::vector<double> losses;
    std::vector<WeightCollection> weights(3);
    run_on_threads(3, [&](Communicator& group) {
      AveragingSolver solver(momentum, small_net(4), group, {.round = {.max_steps = 5}}, {.threads = 1});
      solver.solver().set_training_data(random_examples(40, {6}, 1));
      for (int round = 0; round < 4; ++round) {
        if (round == 1 && group.rank() == 2)
          solver.solver().net().param_arena().fill(std::numeric_limits<double>::quiet_NaN());
        const RoundStats stats = solver.round();
        CHECK(stats.steps == 15);
        CHECK((stats.loss > 0.5 && stats.loss < 3));
        if (group.rank() == 0) rejected.push_back(stats.rejected), losses.push_back(stats.loss);
      }
      weights[static_cast<std::size_t>(group.rank())] = solver.solver().net().weights();
    });
    CHECK(rejected == std::vector<int>{0, 1, 0, 0});
    // The others have the same data, so they are one machine.
    Solver alone(momentum, small_net(4), {.threads = 1});
    alone.set_training_data(random_examples(40, {6}, 1));
    for (const double loss : {losses[0], losses[1]})
      CHECK(loss == doctest::Approx(run_round(alone, {.max_steps = 5}).loss_sum / 5).epsilon(1e-5));
    CHECK(weights[2] == weights[0]);
    CHECK(equal(weights[0], weights[0], 0));  // NaN would not equal itself
  }

  TEST_CASE("no finite worker at all is an error") {
    CHECK_THROWS_WITH_AS(
        train(
            2,
            {.base_lr = 1e30, .max_iter = 40},
            small_net(4),
            {.round = {.max_steps = 10}},
            [](int) { return random_examples(40, {6}, 1); },
            DType::F32),
        "no worker's weights are finite after the round: the learning rate may be too high",
        Error);
  }

  TEST_CASE("a worker whose own weights are not finite takes the centre") {
    run_on_threads(2, [&](Communicator& group) {
      const AveragingOptions options{.round = {.max_steps = 2}, .outer = [] { return elastic_average({.beta = 0.8}); }};
      AveragingSolver solver(momentum, small_net(4), group, options, {.threads = 1});
      solver.solver().set_training_data(random_examples(40, {6}, 1));
      Tensor arena = solver.solver().net().param_arena();
      if (group.rank() == 1) arena.fill(-std::numeric_limits<double>::infinity());
      CHECK(solver.round().rejected == 1);
      CHECK((arena == solver.weights().arena()) == (group.rank() == 1));
    });
  }

  TEST_CASE("a worker whose loss is not finite does not count, whatever its weights are") {
    class Still final : public UpdateRule {
     public:
      std::string_view name() const override { return "still"; }
      int slots() const override { return 0; }
      void update(const UpdateArgs&) const override {}
    };
    const SolverParam param{.rule = std::make_shared<Still>(), .max_iter = 4};
    run_on_threads(2, [&](Communicator& group) {
      AveragingSolver solver(param, small_net(4), group, {.round = {.max_steps = 1}}, {.threads = 1});
      const SourcePtr source = random_examples(40, {6}, 1);
      solver.solver().set_training_data(
          from_callback(source->columns(), source->size(), [&, source](Dim index, std::span<std::byte* const> out) {
            for (std::size_t c = 0; c < out.size(); ++c)
              std::memcpy(out[c], source->example(index, c, out[c]), source->columns()[c].bytes());
            const float nan = std::numeric_limits<float>::quiet_NaN();
            if (group.rank() == 1) std::memcpy(out[0], &nan, sizeof nan);
          }));
      const RoundStats stats = solver.round();
      CHECK(stats.rejected == 1);
      CHECK(std::isfinite(stats.loss));
    });
  }

  TEST_CASE("a worker that throws ends the group with its own error") {
    CHECK_THROWS_WITH_AS(
        train(
            3,
            momentum,
            small_net(4),
            {.round = {.max_steps = 5}},
            [](int) { return random_examples(40, {6}, 1); },
            DType::F64,
            [](int rank, const RoundStats& stats) {
              if (rank == 1 && stats.round == 2) throw Error("the disk of worker 1 is full");
            }),
        "the disk of worker 1 is full",
        Error);
  }

  TEST_CASE("a round ends at the first limit, after one step at least") {
    Solver solver(momentum, small_net(4), {.threads = 1});
    solver.set_training_data(random_examples(40, {6}, 1));
    CHECK(run_round(solver, {.max_steps = 3}).steps == 3);
    CHECK(run_round(solver, {.max_steps = 100, .max_examples = 9}).steps == 3);
    CHECK(run_round(solver, {.max_steps = 100, .max_examples = 9}).examples == 12);
    CHECK(run_round(solver, {.max_steps = 1000000000, .max_time = std::chrono::milliseconds(20)}).steps < 1000000000);
    CHECK(run_round(solver, {.max_steps = 0, .max_time = std::chrono::nanoseconds(1)}).steps == 1);
    CHECK_THROWS_WITH_AS(
        run_round(solver, {.max_steps = 0}),
        "RoundPolicy: no limit is given, so the round would never end; set .max_steps, say",
        Error);
  }

  TEST_CASE("the learning rate follows the worker that made the most steps") {
    run_on_threads(2, [](Communicator& group) {
      AveragingSolver solver(
          momentum,
          small_net(4),
          group,
          {.round = {.max_steps = group.rank() == 0 ? 3 : 5}},
          {.threads = 1});
      solver.solver().set_training_data(random_examples(40, {6}, 1));
      const RoundStats stats = solver.round();
      CHECK(stats.steps == 8);
      CHECK(stats.max_steps == 3);  // on both
      CHECK(solver.solver().iteration() == 5);
    });
  }

  TEST_CASE("where one worker asks for an end, all end after the same round") {
    std::vector<std::int64_t> iterations(3);
    run_on_threads(3, [&](Communicator& group) {
      Solver own(momentum, small_net(4), {.threads = 1});
      own.set_training_data(random_examples(40, {6}, 1));
      AveragingSolver solver(own, group, {.round = {.max_steps = 5}});
      solver.set_callbacks({.stop = [&] { return group.rank() == 1 && own.iteration() == 15; }});
      solver.solve();
      iterations[static_cast<std::size_t>(group.rank())] = own.iteration();
    });
    CHECK(iterations == std::vector<std::int64_t>{15, 15, 15});
  }

  TEST_CASE("each worker gets its own part of the data") {
    run_on_threads(3, [](Communicator& group) {
      AveragingSolver solver(momentum, small_net(4), group, {}, {.threads = 1});
      solver.set_training_data(random_examples(40, {6}, 1));
      CHECK(solver.solver().net().feed()->source().size() == (group.rank() == 0 ? 14 : 13));
    });
  }
}
