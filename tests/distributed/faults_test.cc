// Workers that throw, hang or yield NaN: the round goes on with the others, and says so.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <thread>

#include "tests/distributed/training.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::testing;
using namespace std::chrono_literals;

namespace {

SourcePtr examples(int rank) {
  return random_examples(40, {6}, 10 + static_cast<std::uint64_t>(rank));
}

struct Run {
  std::vector<RoundStats> rounds;
  WeightCollection weights;
  std::int64_t iteration = 0;
};

/// Trains three workers; `disturb(rank, iteration, net)` is called before each step. Worker 0 reports.
Run disturbed(
    const AveragingOptions& options, std::int64_t max_iter,
    const std::function<void(int rank, std::int64_t iteration, Net& net)>& disturb, const std::string& snapshots = {}) {
  Run run;
  run_on_threads(3, [&](Communicator& group) {
    SolverParam param = momentum;
    param.max_iter = max_iter;
    param.snapshot = 20;
    param.snapshot_prefix = snapshots;
    AveragingSolver solver(param, small_net(4), group, options, {.threads = 1});
    Solver& own = solver.solver();
    const SourcePtr source = examples(group.rank());
    // A step reads four examples; the disturbance comes with the first of them.
    std::atomic<int> calls = 0;
    own.set_training_data(
        from_callback(
            source->columns(),
            source->size(),
            [&, source](Dim index, std::span<std::byte* const> out) {
              if (calls++ % 4 == 0) disturb(group.rank(), own.iteration(), own.net());
              for (std::size_t c = 0; c < out.size(); ++c) {
                const std::byte* from = source->example(index, c, out[c]);
                if (from != out[c]) std::copy_n(from, source->columns()[c].bytes(), out[c]);
              }
            }),
        {.prefetch = 0});
    solver.set_callbacks({.after_round = [&](const RoundStats& stats) {
      if (group.rank() == 0) run.rounds.push_back(stats);
    }});
    solver.solve();
    if (group.rank() == 0) {
      run.weights = solver.weights();
      run.iteration = own.iteration();
    }
  });
  return run;
}

/// Each round is a step longer than the one before.
class Growing final : public RoundSchedule {
 public:
  std::string_view name() const override { return "growing"; }
  RoundPolicy next(std::int64_t) const override { return {.max_steps = static_cast<std::int64_t>(tau_)}; }
  void after(const RoundStats&) override { ++tau_; }
  std::vector<double> state() const override { return {tau_}; }
  void set_state(std::span<const double> state) override { tau_ = state[0]; }

 private:
  double tau_ = 1;
};

bool finite(const WeightCollection& weights) {
  return equal(weights, weights, 0);  // NaN would not equal itself
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("a worker that throws is gone, and the others go on while they are enough") {
    const auto throws = [](int rank, std::int64_t iteration, Net&) {
      if (rank == 1 && iteration == 12) throw Error("the disk of worker 1 is full");
    };
    const Run run = disturbed({.round = {.max_steps = 5}, .quorum = 2}, 40, throws);
    REQUIRE(run.rounds.size() == 8);
    CHECK(run.rounds[1].workers == 3);
    CHECK(run.rounds[2].workers == 2);
    CHECK(run.rounds[2].lost == 1);
    CHECK(run.rounds[2].steps == 10);
    REQUIRE(run.rounds[2].faults.size() == 1);
    CHECK(run.rounds[2].faults[0].find("worker 1: ") == 0);
    CHECK(run.rounds[2].faults[0].find("the disk of worker 1 is full") != std::string::npos);
    CHECK(run.rounds[3].faults.empty());
    CHECK(run.rounds[7].lost == 1);
    CHECK(run.iteration == 40);
    CHECK(finite(run.weights));
    CHECK(run.rounds[7].loss < run.rounds[0].loss);

    CHECK_THROWS_WITH_AS(
        disturbed({.round = {.max_steps = 5}}, 40, throws),
        doctest::Contains("the disk of worker 1 is full"),
        Error);
  }

  TEST_CASE("where fewer than the quorum are left it is an error that says whom") {
    std::vector<std::string> told;
    CHECK_THROWS_WITH(
        run_on_threads(
            3,
            [&](Communicator& group) {
              if (group.rank() > 0) throw Error("fault of " + std::to_string(group.rank()));
              std::this_thread::sleep_for(50ms);
              try {
                group.barrier(1s, 2);
              } catch (const Error& error) {
                told.push_back(error.what());
                throw;
              }
            }),
        doctest::Contains("fault of "));
    CHECK(
        told == std::vector<std::string>{"1 of 3 workers came to the barrier, and 2 must: worker 1: fault of 1; worker "
                                         "2: fault of 2"});
  }

  TEST_CASE("one that sleeps past the budget is left out and comes back with what the others know") {
    const AveragingOptions options{.round = {.max_steps = 5}, .quorum = 2, .timeout = 400ms};
    std::atomic<bool> slept = false;
    const TempDir folder;  // they save together, those that were away too
    const Run run = disturbed(
        options,
        200,
        [&](int rank, std::int64_t iteration, Net&) {
          if (rank == 2 && iteration == 10 && !slept.exchange(true)) std::this_thread::sleep_for(1000ms);
          if (rank != 2) std::this_thread::sleep_for(6ms);
        },
        (folder / "run").string());
    for (int iteration = 20; iteration <= 200; iteration += 20)
      CHECK(std::filesystem::exists(folder / ("run_iter_" + std::to_string(iteration) + ".snap")));
    int lost = 0, returned = 0, all = 0;
    std::size_t faults = 0;
    for (const RoundStats& stats : run.rounds) {
      lost += stats.lost;
      returned += stats.returned;
      faults += stats.faults.size();
      all += stats.workers == 3;
      if (stats.faults.size() == 1) CHECK(stats.faults[0] == "worker 2 did not come within 0.4 s");
      CHECK(stats.workers + stats.lost + stats.returned == 3);
    }
    CHECK(lost >= 1);
    CHECK(returned == 1);
    CHECK(faults == 1);
    CHECK(all >= 10);
    CHECK(run.iteration == 200);
    CHECK(finite(run.weights));
    CHECK(run.rounds.back().loss < run.rounds.front().loss);
  }

  TEST_CASE("one that came back has the bits of the others") {
    std::vector<WeightCollection> weights(3);
    std::vector<std::vector<RoundStats>> stats(3);
    run_on_threads(3, [&](Communicator& group) {
      AveragingOptions options{.quorum = 2, .timeout = 300ms};
      options.outer = [] { return slowmo({.lr = 0.7, .momentum = 0.9}); };
      options.schedule = [] { return std::make_unique<Growing>(); };
      AveragingSolver solver(momentum, small_net(4), group, options, {.threads = 1});
      solver.solver().set_training_data(examples(group.rank()));
      // The others meet five times while one is away, and it then comes to three rounds with them.
      std::vector<RoundStats>& mine = stats[static_cast<std::size_t>(group.rank())];
      if (group.rank() == 1) {
        mine.push_back(solver.round());
        std::this_thread::sleep_for(900ms);
        solver.solver().net().param_arena().fill(1000);  // which does not count
        for (int again = 0; again < 4; ++again) mine.push_back(solver.round());
      } else {
        int together = 0;
        for (; together < 5;) {
          if (together == 1) std::this_thread::sleep_for(20ms);
          mine.push_back(solver.round());
          together += mine.back().lost == 0;
        }
      }
      weights[static_cast<std::size_t>(group.rank())] = solver.weights();
    });
    CHECK(weights[1] == weights[0]);
    CHECK(weights[2] == weights[0]);
    const Tensor arena = weights[0].arena();
    for (const float x : arena.span<const float>()) CHECK(std::abs(x) < 10);
    REQUIRE(stats[1].size() == 5);
    CHECK(stats[1].back().round == stats[0].back().round);
    for (const RoundStats& of : stats[1]) {
      const RoundStats& same = stats[0].at(static_cast<std::size_t>(of.round));
      CHECK(of.round == same.round);
      CHECK(of.iteration == same.iteration);
      CHECK(of.max_steps == same.max_steps);
      CHECK(of.rate == same.rate);
    }
  }

  TEST_CASE("one that yields NaN is rejected each time, and the run converges") {
    const Run run =
        disturbed({.round = {.max_steps = 5}, .quorum = 2}, 40, [](int rank, std::int64_t iteration, Net& net) {
          if (rank == 0 && iteration % 10 == 3) net.param_arena().fill(std::numeric_limits<double>::quiet_NaN());
        });
    for (const RoundStats& stats : run.rounds) CHECK(stats.rejected == (stats.round % 2 == 0 ? 1 : 0));
    CHECK(finite(run.weights));
    CHECK(run.rounds.back().loss < run.rounds.front().loss);
  }

  TEST_CASE("a worker that does not return at all can be left behind") {
    // What the one that stays behind uses lives on with it.
    struct Shared {
      std::atomic<bool> release = false, released = false;
    };
    for (const int quorum : {2, 3}) {
      const auto shared = std::make_shared<Shared>();
      const auto begin = std::chrono::steady_clock::now();
      std::atomic<int> present = 0;
      const auto go = [&] {
        run_on_threads(
            3,
            [shared, quorum, &present](Communicator& group) {
              if (group.rank() == 2) {
                while (!shared->release) std::this_thread::sleep_for(1ms);
                shared->released = true;
                return;
              }
              present += static_cast<int>(group.barrier(50ms, quorum).present.size());
            },
            LostWorkers::Abandon);
      };
      if (quorum == 2) {
        go();
        CHECK(present == 4);
      } else {
        CHECK_THROWS_WITH_AS(go(), doctest::Contains("worker 2 did not come within 0.05 s"), Error);
      }
      CHECK(std::chrono::steady_clock::now() - begin < 5s);
      CHECK_FALSE(shared->released);
      shared->release = true;
      while (!shared->released) std::this_thread::sleep_for(1ms);
    }
  }

  TEST_CASE("one that comes back early waits for the others without hurrying them") {
    std::atomic<int> closed = 0;
    run_on_threads(3, [&](Communicator& group) {
      if (group.rank() < 2) {
        CHECK(group.barrier(300ms, 2).faults.size() == 1);
        ++closed;
        std::this_thread::sleep_for(600ms);
      }
      while (closed < 2) std::this_thread::yield();
      const Attendance all = group.barrier(300ms, 2);
      CHECK(all.present == std::vector<int>{0, 1, 2});
      CHECK(all.newcomers == std::vector<int>{2});
    });
  }

  TEST_CASE("one that was given up comes back at a barrier only, and its error is its own") {
    std::atomic<int> closed = 0;
    std::string told;
    CHECK_NOTHROW(run_on_threads(3, [&](Communicator& group) {
      if (group.rank() < 2) {
        group.barrier(150ms, 2);
        ++closed;
        return;
      }
      while (closed < 2) std::this_thread::yield();
      try {
        Tensor values(Shape{8});
        group.all_reduce_sum(values);
      } catch (const Error& error) {
        told = error.what();
        throw;
      }
    }));
    CHECK(told == "worker 2 was given up by its group; it can come back at a barrier only");
  }

  TEST_CASE("those that come back need somebody who knows where the group is") {
    std::atomic<bool> closed = false;
    bool refused = false;
    run_on_threads(2, [&](Communicator& group) {
      if (group.rank() == 0) {
        group.barrier(20ms, 1);
        closed = true;
        return;
      }
      while (!closed) std::this_thread::yield();
      try {
        group.barrier(20ms, 1);
      } catch (const Error&) {
        refused = true;
      }
    });
    CHECK(refused);
  }

  TEST_CASE("a time-out without a quorum ends the group within the time") {
    const auto begin = std::chrono::steady_clock::now();
    CHECK_THROWS_WITH_AS(
        run_on_threads(
            2,
            [](Communicator& group) {
              if (group.rank() == 1) std::this_thread::sleep_for(500ms);
              group.barrier(50ms);
            }),
        "1 of 2 workers came to the barrier, and 2 must: worker 1 did not come within 0.05 s",
        Error);
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
  }
}
