#include "sparknet/distributed/round_master.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "sparknet/distributed/workers.h"
#include "src/io/bytes.h"
#include "tests/count_allocations.h"
#include "tests/distributed/training.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

constexpr int workers = 3;

SourcePtr part(int worker) {
  return partition(random_examples(77, {2, 8, 8}, 1), worker, workers);
}

AveragingOptions options_of(SolverHistory history, int outer) {
  AveragingOptions options{.round = {.max_steps = 4}, .history = history};
  if (outer == 1) options.outer = [] { return outer_sgd({.lr = 0.7, .momentum = 0.9, .nesterov = true}); };
  if (outer == 2) options.outer = [] { return slowmo(); };
  if (outer == 2) options.schedule = [] { return adaptive_tau({.initial = 2, .sampling_rounds = 3}); };
  return options;
}

Solver make_solver(const SolverParam& param, int worker) {
  // The seeds that AveragingSolver gives its ranks.
  Solver solver(param, branching_net(5), {.threads = 1, .seed = 1 + (static_cast<std::uint64_t>(worker) << 32)});
  solver.set_training_data(part(worker), {.shuffle = true, .seed = 4});
  return solver;
}

WeightCollection first_weights() {
  return Net(branching_net(5), {.threads = 1}).weights();
}

/// The same training by a group.
WeightCollection collective(const SolverParam& param, const AveragingOptions& options) {
  WeightCollection weights;
  run_on_threads(workers, [&](Communicator& group) {
    AveragingSolver solver(param, branching_net(5), group, options, {.threads = 1});
    solver.set_training_data(random_examples(77, {2, 8, 8}, 1), {.shuffle = true, .seed = 4});
    solver.solve();
    if (group.rank() == 0) weights = solver.weights();
  });
  return weights;
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("a master and its workers yield the bits of a group, in whatever order the parts come") {
    for (const int outer : {0, 1, 2})
      for (const SolverHistory history : {SolverHistory::Keep, SolverHistory::Reset, SolverHistory::Average}) {
        CAPTURE(outer);
        CAPTURE(static_cast<int>(history));
        const AveragingOptions options = options_of(history, outer);
        RoundMaster master(momentum, first_weights(), workers, options);
        Workers<Solver> solvers(workers, [&](int worker) { return make_solver(momentum, worker); });
        while (!master.done()) {
          // As bytes, as an engine would send them.
          const std::vector<std::byte> task = encode(master.task());
          std::vector<Contribution> parts;
          for (int worker = 0; worker < workers; ++worker)
            parts.push_back(decode(encode(run_round_task(solvers[worker], decode_round_task(task), worker))));
          std::rotate(parts.begin(), parts.begin() + master.round() % workers, parts.end());
          const RoundStats stats = master.apply(std::move(parts));
          CHECK(stats.workers == workers);
        }
        CHECK(master.iteration() == momentum.max_iter);
        CHECK(master.weights() == collective(momentum, options));
      }
  }

  TEST_CASE("a task that is run again, by another solver, yields the same contribution") {
    RoundMaster master(momentum, first_weights(), workers, options_of(SolverHistory::Average, 0));
    Workers<Solver> solvers(workers, [&](int worker) { return make_solver(momentum, worker); });
    for (int round = 0; round < 3; ++round) {
      const RoundTask task = master.task();
      std::vector<Contribution> parts;
      for (int worker = 0; worker < workers; ++worker) {
        parts.push_back(run_round_task(solvers[worker], task, worker));
        Solver other = make_solver(momentum, worker);
        other.step(2);  // whatever it did before
        const Contribution again = run_round_task(other, task, worker);
        CHECK(encode(again) == [&] {
          Contribution first = parts.back();
          first.seconds = again.seconds;
          first.most_seconds = again.most_seconds;
          return encode(first);
        }());
      }
      CHECK_THROWS_WITH_AS(
          master.apply({parts[0], parts[1], parts[1]}),
          doctest::Contains("worker 1 is in both"),
          Error);
      CHECK_THROWS_WITH_AS(master.apply({parts[0], parts[1]}), doctest::Contains("2 of 3 workers count"), Error);
      master.apply(parts);
    }
  }

  TEST_CASE("differences yield the weights to rounding, and compressed ones nearly") {
    // Small steps, so that the training does not make much of the differences itself.
    const SolverParam calm{.base_lr = 0.02, .max_iter = 40};
    const auto with = [&](Carries carries, Codec codec, bool feedback) {
      RoundMaster master(calm, first_weights(), workers, options_of(SolverHistory::Average, 0), carries);
      Workers<Solver> solvers(workers, [&](int worker) { return make_solver(calm, worker); });
      std::vector<EncodeOptions> codecs(workers);
      for (EncodeOptions& options : codecs) {
        options.codec = codec;
        if (feedback) options.residual = Tensor(master.weights().arena().shape());
      }
      while (!master.done()) {
        const RoundTask task = master.task();
        std::vector<Contribution> parts;
        for (int worker = 0; worker < workers; ++worker)
          parts.push_back(
              decode(encode(run_round_task(solvers[worker], task, worker), codecs[static_cast<std::size_t>(worker)])));
        master.apply(std::move(parts));
      }
      return master.weights();
    };
    const WeightCollection exact = with(Carries::Weights, Codec::Exact, false);
    const auto distance = [&](const WeightCollection& other) {
      double most = 0;
      const Tensor difference = exact.arena() - other.arena();
      for (const float x : difference.span<const float>()) most = std::max(most, std::abs(static_cast<double>(x)));
      return most;
    };
    const double moved = distance(first_weights());
    CHECK(distance(with(Carries::Differences, Codec::Exact, false)) < 1e-5 * moved);
    CHECK(distance(with(Carries::Differences, Codec::BF16, true)) < 0.02 * moved);
    CHECK(distance(with(Carries::Differences, Codec::Int8, true)) < 0.05 * moved);
  }

  TEST_CASE("a round goes on without workers that are lost or yield NaN, while a quorum counts") {
    AveragingOptions options = options_of(SolverHistory::Reset, 0);
    options.quorum = 2;
    RoundMaster master(momentum, first_weights(), workers, options);
    Workers<Solver> solvers(workers, [&](int worker) { return make_solver(momentum, worker); });
    double first = 0, last = 0;
    while (!master.done()) {
      const RoundTask task = master.task();
      std::vector<Contribution> parts;
      const int lost = static_cast<int>(master.round() % 4);
      for (int worker = 0; worker < workers; ++worker)
        if (worker != lost) parts.push_back(run_round_task(solvers[worker], task, worker));
      const RoundStats stats = master.apply(std::move(parts));
      CHECK(stats.lost == (lost < workers ? 1 : 0));
      (task.round == 0 ? first : last) = stats.loss;
    }
    CHECK(last < first);
    CHECK(decode_round_task(encode(master.task())).states.size() == workers);

    RoundMaster poisoned({.base_lr = 0.05, .max_iter = 40}, first_weights(), workers, options);
    const RoundTask task = poisoned.task();
    RoundTask hot = task;
    hot.weights = task.weights.copy();
    hot.weights.fill(std::numeric_limits<double>::infinity());
    std::vector<Contribution> parts = {
        run_round_task(solvers[0], task, 0),
        run_round_task(solvers[1], hot, 1),
        run_round_task(solvers[2], task, 2)};
    CHECK(parts[1].rejected == 1);
    const RoundStats stats = poisoned.apply(parts);
    CHECK(stats.workers == 2);
    CHECK(stats.rejected == 1);
    CHECK(stats.lost == 0);
    hot.history = SolverHistory::Keep;
    CHECK(run_round_task(solvers[1], hot, 1).rejected == 1);
    CHECK(solvers[1].history() == Tensor(solvers[1].history().shape()));
    CHECK(poisoned.weights() == poisoned.weights());

    const RoundTask next = poisoned.task();
    const WeightCollection before = poisoned.weights();
    CHECK_THROWS_WITH_AS(
        poisoned.apply({run_round_task(solvers[0], next, 0)}),
        "1 of 3 workers count (1 contributions came, 0 workers had weights that are not finite), and 2 must",
        Error);
    CHECK_THROWS_WITH_AS(poisoned.apply(parts), "a contribution of round 0 came in round 1", Error);
    const auto refuses = [&](const char* why, const std::function<void(Contribution&)>& damage) {
      std::vector<Contribution> damaged = {run_round_task(solvers[0], next, 0), run_round_task(solvers[2], next, 2)};
      for (Contribution& part : damaged) damage(part);
      CHECK_THROWS_WITH_AS(poisoned.apply(std::move(damaged)), doctest::Contains(why), Error);
    };
    refuses("its sums are not the parameters", [](Contribution& part) { part.sums[0] = Tensor(Shape{3}); });
    refuses("its sums are not the parameters", [](Contribution& part) { part.sums.push_back(part.sums[0].copy()); });
    refuses("nobody makes", [](Contribution& part) { part.most_steps = std::numeric_limits<std::int64_t>::max(); });
    refuses("nobody makes 4 steps in nan s", [](Contribution& part) { part.most_seconds = std::nan(""); });
    CHECK(poisoned.weights() == before);
    CHECK(poisoned.round() == 1);
  }

  TEST_CASE("a master goes on from its snapshot, and a group from a master's") {
    const TempDir folder;
    const std::filesystem::path file = folder / "master.snap";
    const AveragingOptions options = options_of(SolverHistory::Average, 1);
    const auto go = [&](RoundMaster& master, std::int64_t rounds) {
      Workers<Solver> solvers(workers, [&](int worker) { return make_solver(momentum, worker); });
      for (std::int64_t round = 0; round < rounds; ++round) {
        std::vector<Contribution> parts;
        for (int worker = 0; worker < workers; ++worker)
          parts.push_back(run_round_task(solvers[worker], master.task(), worker));
        master.apply(std::move(parts));
      }
    };
    RoundMaster whole(momentum, first_weights(), workers, options);
    go(whole, 4);
    whole.snapshot(file);
    go(whole, 6);
    RoundMaster resumed(momentum, first_weights(), workers, options);
    const RoundTask handed_out = resumed.task();
    resumed.restore(file);
    CHECK(handed_out.weights == first_weights().arena());
    CHECK(resumed.iteration() == 16);
    go(resumed, 6);
    CHECK(resumed.done());
    CHECK(resumed.weights() == whole.weights());

    WeightCollection of_group;
    run_on_threads(workers, [&](Communicator& group) {
      AveragingSolver solver(momentum, branching_net(5), group, options, {.threads = 1});
      solver.set_training_data(random_examples(77, {2, 8, 8}, 1), {.shuffle = true, .seed = 4});
      solver.restore(file);
      solver.solve();
      if (group.rank() == 0) of_group = solver.weights();
    });
    CHECK(of_group == whole.weights());

    RoundMaster keeps(momentum, first_weights(), workers, options_of(SolverHistory::Keep, 0));
    CHECK_THROWS_WITH_AS(keeps.snapshot(file), doctest::Contains("the workers keep their history"), Error);
  }

  TEST_CASE("a master makes the next weights where the sums were, and a task in one piece of memory") {
    for (const Carries carries : {Carries::Weights, Carries::Differences}) {
      CAPTURE(static_cast<int>(carries));
      RoundMaster master(momentum, first_weights(), 2, options_of(SolverHistory::Average, 0), carries);
      for (int round = 0; round < 2; ++round) {
        const RoundTask task = master.task();
        const std::size_t before = allocations();
        const std::vector<std::byte> bytes = encode(task);
        // The header grows to 8, 16, ... 256 bytes, and then there is a net's.
        CHECK(allocations() - before <= 8);
        CHECK(bytes.capacity() == bytes.size());
        REQUIRE(task.slots.size() == 1);

        std::vector<Contribution> parts;
        std::vector<const std::byte*> weights, slots;
        for (int worker = 0; worker < 2; ++worker) {
          Solver solver = make_solver(momentum, worker);
          parts.push_back(run_round_task(solver, task, worker));
          // Of other weights, so that there is something to divide by.
          parts.back().weight = parts.back().unit = 1 + worker;
          weights.push_back(parts.back().sums[0].raw());
          slots.push_back(parts.back().sums[1].raw());
        }
        Contribution sum;
        for (const Contribution& part : parts) sum.merge(part);
        const Tensor mean = sum.mean(0), slot = sum.mean(1);
        const Tensor next = carries == Carries::Weights ? mean : task.weights - mean;
        const Tensor start = task.weights.copy();
        master.apply(std::move(parts));
        CHECK(master.weights().arena() == next);
        CHECK(master.task().slots[0] == slot);
        CHECK(std::ranges::count(weights, master.weights().arena().raw()) == 1);
        CHECK(std::ranges::count(slots, master.task().slots[0].raw()) == 1);
        CHECK(task.weights == start);
      }
    }
  }

  TEST_CASE("slices are joined before they come to the master") {
    RoundMaster master(momentum, first_weights(), workers, options_of(SolverHistory::Reset, 0));
    Solver solver = make_solver(momentum, 0);
    const Contribution made = run_round_task(solver, master.task(), 0);
    CHECK_THROWS_WITH_AS(
        master.apply({slice(made, 1, 2)}),
        "slice 1 of 2 of a contribution came; join them first",
        Error);
  }

  TEST_CASE("what makes no sense is refused with words") {
    CHECK_THROWS_WITH_AS(
        RoundMaster(momentum, first_weights(), 3, {.outer = [] { return elastic_average(); }}),
        "outer optimizer \"elastic average\" leaves workers weights of their own, and a master's workers keep nothing; "
        "AveragingSolver's do",
        Error);
    CHECK_THROWS_WITH_AS(RoundMaster(momentum, first_weights(), 0), "a master of 0 workers has nothing to do", Error);
    RoundMaster master(momentum, first_weights(), 1);
    Solver other(momentum, small_net(4), {.threads = 1});
    CHECK_THROWS_WITH_AS(
        run_round_task(other, master.task(), 0),
        doctest::Contains("the task is of another net than worker 0 has"),
        Error);

    Solver own(momentum, branching_net(5), {.threads = 1});
    RoundTask two_slots = master.task();
    two_slots.slots = {two_slots.weights, two_slots.weights};
    CHECK_THROWS_WITH_AS(
        run_round_task(own, two_slots, 0),
        "the task has 2 slots of history, and worker 0's update rule \"sgd\" has 1",
        Error);

    const std::vector<std::byte> good = encode(master.task());
    for (const std::size_t length : {std::size_t{0}, std::size_t{5}, std::size_t{40}, good.size() - 1})
      CHECK_THROWS_AS(decode_round_task(std::span(good).first(length)), DataError);
    for (std::size_t at = 0; at < good.size(); at += 97) {
      std::vector<std::byte> bad = good;
      bad[at] ^= std::byte{4};
      CHECK_THROWS_AS(decode_round_task(bad), DataError);
    }
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    CHECK_THROWS_AS(decode_round_task(longer), DataError);
    const auto refuses = [&](const char* why, std::int64_t round, std::vector<WorkerState> states) {
      RoundTask task = master.task();
      task.round = round;
      task.states = std::move(states);
      CHECK_THROWS_WITH_AS(decode_round_task(encode(task)), doctest::Contains(why), DataError);
    };
    refuses("is of round -1 at iteration 0", -1, {});
    refuses("it has worker -1 at example 0", 0, {{.worker = -1}});
    refuses("it has worker 1 at example -2", 0, {{.worker = 1, .cursor = -2}});
    refuses("it has worker 1 after worker 1", 0, {{.worker = 1}, {.worker = 1}});
    refuses("it has worker 0 after worker 1", 0, {{.worker = 1}, {.worker = 0}});

    // Cut off before the slots, with a checksum that could be their number: the schema is such that it is 0. All memory
    // there is would not hold the weights.
    detail::ByteWriter cut;
    const std::vector<std::byte> head = encode(RoundTask{.schema = 0x79839ac1});
    cut.raw(std::span(head).first(head.size() - 4 - 4 - 8));
    cut.number<std::int64_t>((std::int64_t{1} << 62) - 1);
    CHECK(detail::crc32(cut.bytes()) == 0);
    cut.number<std::uint32_t>(0);
    CHECK_THROWS_WITH_AS(decode_round_task(cut.bytes()), doctest::Contains("ends inside of the slots"), DataError);
    const RoundTask back = decode_round_task(good);
    CHECK(back.weights == master.task().weights);
    CHECK(back.policy == master.task().policy);
  }

  TEST_CASE("the loop of SparkNet's paper: partitions, nets, set_weights, train, weights, mean") {
    const SolverParam plain{.base_lr = 0.05, .momentum = 0.9, .max_iter = 20};
    WeightCollection weights = first_weights();
    Workers<Solver> nets(workers, [&](int worker) { return make_solver(plain, worker); });
    for (int round = 0; round < 5; ++round) {
      nets.for_each([&](Solver& net) { net.net().set_weights(weights); });
      weights = mean(nets.map([](Solver& net) {
        net.step(4);
        return net.net().weights();
      }));
    }
    CHECK(weights == collective(plain, options_of(SolverHistory::Keep, 0)));
    CHECK_THROWS_WITH_AS(
        nets.for_each([&](Solver& net) {
          if (&net == &nets[1]) throw Error("the second");
        }),
        "the second",
        Error);
  }
}
