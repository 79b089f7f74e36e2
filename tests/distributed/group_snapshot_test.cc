#include <doctest/doctest.h>

#include <fstream>
#include <iterator>

#include "sparknet/distributed/round_master.h"
#include "src/distributed/group_snapshot.h"
#include "tests/distributed/training.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

SourcePtr examples() {
  return random_examples(77, {2, 8, 8}, 1);
}

AveragingOptions every_kind(int kind) {
  AveragingOptions options{.round = {.max_steps = 3}};
  if (kind == 1) {
    options.outer = [] { return outer_sgd({.lr = 0.7, .momentum = 0.9, .nesterov = true}); };
    options.history = SolverHistory::Reset;
  }
  if (kind == 2) {
    options.outer = [] { return slowmo(); };
    options.schedule = [] { return adaptive_tau({.initial = 2, .sampling_rounds = 3}); };
    options.history = SolverHistory::Average;
  }
  if (kind == 3) options.outer = [] { return elastic_average(); };
  return options;
}

struct Result {
  std::vector<WeightCollection> weights;
  std::vector<RoundStats> last;
};

/// Trains to `until`, after `resume` where that is given; writes `save` at the end where that is.
Result go(
    int workers, int kind, std::int64_t until, const std::filesystem::path& resume = {},
    const std::filesystem::path& save = {}) {
  Result result{
      std::vector<WeightCollection>(static_cast<std::size_t>(workers)),
      std::vector<RoundStats>(static_cast<std::size_t>(workers))};
  run_on_threads(workers, [&](Communicator& group) {
    SolverParam param = momentum;
    param.max_iter = 60;
    // Dropout, so that the random state matters too.
    AveragingSolver solver(param, branching_net(5), group, every_kind(kind), {.threads = 1});
    solver.set_training_data(examples(), {.shuffle = true, .seed = 4});
    if (!resume.empty()) solver.restore(resume);
    RoundStats stats;
    while (solver.solver().iteration() < until) stats = solver.round();
    if (!save.empty()) solver.snapshot(save);
    const auto at = static_cast<std::size_t>(group.rank());
    result.weights[at] = solver.solver().net().weights();
    result.last[at] = stats;
  });
  return result;
}

std::vector<char> read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::filesystem::path& file, const std::vector<char>& bytes) {
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("a group goes on from a snapshot bit for bit, whatever it averages with") {
    const TempDir folder;
    for (const int kind : {0, 1, 2, 3}) {
      CAPTURE(kind);
      const std::filesystem::path file = folder.path() / "group.snap";
      const Result whole = go(3, kind, 24);
      go(3, kind, 11, {}, file);
      const Result resumed = go(3, kind, 24, file);
      for (const std::size_t rank : {0U, 1U, 2U}) CHECK(resumed.weights[rank] == whole.weights[rank]);
      CHECK(resumed.last[0].iteration == whole.last[0].iteration);
      CHECK(resumed.last[0].round == whole.last[0].round);
      CHECK(resumed.last[1].max_steps == whole.last[1].max_steps);
      CHECK(resumed.last[0].loss == whole.last[0].loss);
    }
  }

  TEST_CASE("a group of another size goes on from the weights, the iteration and its share of the data") {
    const TempDir folder;
    const std::filesystem::path file = folder.path() / "group.snap";
    const Result before = go(3, 0, 12, {}, file);
    for (const int workers : {1, 2, 5})
      run_on_threads(workers, [&](Communicator& group) {
        SolverParam param = momentum;
        param.max_iter = 60;
        AveragingSolver solver(param, branching_net(5), group, every_kind(0), {.threads = 1});
        solver.set_training_data(examples());
        solver.round();  // none of which is left
        solver.restore(file);
        CHECK(solver.weights() == before.weights[0]);
        CHECK(solver.solver().iteration() == 12);
        // Three workers have seen twelve batches of five each.
        CHECK(solver.solver().net().feed()->cursor() == 180 / workers);
        CHECK((solver.solver().history().cast(DType::F64).get<double>(0) != 0) == (group.rank() < 3));
        CHECK(solver.round().round == 4);
      });
  }

  TEST_CASE("a worker that was lost before the snapshot begins at the centre, with its share of the data") {
    const TempDir folder;
    const std::filesystem::path file = folder.path() / "group.snap";
    AveragingOptions options = every_kind(3);
    options.quorum = 2;
    std::vector<WeightCollection> own(3);
    for (const bool resumes : {false, true})
      run_on_threads(3, [&](Communicator& group) {
        AveragingSolver solver(momentum, branching_net(5), group, options, {.threads = 1});
        solver.set_training_data(examples());
        const auto at = static_cast<std::size_t>(group.rank());
        if (resumes) {
          solver.restore(file);
          CHECK(solver.solver().net().weights() == (at == 2 ? solver.weights() : own[at]));
          CHECK(solver.solver().net().feed()->cursor() == 30);
          CHECK((solver.solver().history().cast(DType::F64).get<double>(0) != 0) == (at < 2));
        } else if (at < 2) {
          for (int round = 0; round < 2; ++round) solver.round();
          solver.snapshot(file);
          own[at] = solver.solver().net().weights();
          CHECK_FALSE(own[at] == solver.weights());
        }
      });
  }

  TEST_CASE("a new group shares what the old one has seen") {
    detail::GroupSnapshot snapshot{.iteration = 6};
    snapshot.workers = {
        {.present = true, .passes = 12, .cursor = 30},
        {},
        {.present = true, .passes = 12, .cursor = 40}};
    CHECK(snapshot.resumed(2, 3, 2).cursor == 40);
    CHECK(snapshot.resumed(1, 3, 2).cursor == 35);
    CHECK(snapshot.resumed(1, 3, 2).passes == 12);
    CHECK(snapshot.resumed(4, 5, 2).cursor == 21);
    for (auto& worker : snapshot.workers) worker = {.present = true};
    CHECK(snapshot.resumed(0, 1, 2).cursor == -1);  // they had no data
    CHECK(snapshot.resumed(4, 5, 2).cursor == -1);
  }

  TEST_CASE("solve() writes snapshots where Solver's does, and a run resumes from any") {
    const TempDir folder;
    std::vector<std::string> written;
    const auto solve = [&](const std::string& prefix, const std::filesystem::path& resume) {
      WeightCollection weights;
      run_on_threads(2, [&](Communicator& group) {
        SolverParam param = momentum;
        param.max_iter = 20;
        param.snapshot = 8;
        param.snapshot_prefix = (folder.path() / prefix).string();
        AveragingSolver solver(param, small_net(4), group, {.round = {.max_steps = 3}}, {.threads = 1});
        solver.set_callbacks(
            {.snapshotted = [&](const std::filesystem::path& file) { written.push_back(file.filename()); }});
        if (!resume.empty()) {
          solver.set_training_data(random_examples(40, {6}, 1));
          solver.restore(resume);
          solver.solve();
        } else {
          solver.solve(random_examples(40, {6}, 1));
        }
        if (group.rank() == 0) weights = solver.weights();
      });
      return weights;
    };
    const WeightCollection whole = solve("a", {});
    CHECK(written == std::vector<std::string>{"a_iter_9.snap", "a_iter_18.snap", "a_iter_20.snap"});
    CHECK(solve("b", folder.path() / "a_iter_9.snap") == whole);
    CHECK(read(folder.path() / "a_iter_20.snap") == read(folder.path() / "b_iter_20.snap"));
  }

  TEST_CASE("every worker is told what is wrong with a snapshot") {
    const TempDir folder;
    const std::filesystem::path file = folder.path() / "group.snap", bad = folder.path() / "bad.snap";
    go(2, 0, 6, {}, file);
    const std::vector<char> good = read(file);
    const auto told = [&](const std::filesystem::path& which, int kind = 0) {
      std::vector<std::string> words(2);
      run_on_threads(2, [&](Communicator& group) {
        AveragingSolver solver(momentum, branching_net(5), group, every_kind(kind), {.threads = 1});
        const WeightCollection before = solver.weights();
        try {
          solver.restore(which);
        } catch (const DataError& error) {
          words[static_cast<std::size_t>(group.rank())] = error.what();
        }
        CHECK(solver.weights() == before);
      });
      CHECK(words[0] == words[1]);
      const std::string prefix = which.string();
      CHECK(words[0].substr(0, prefix.size()) == prefix);
      return words[0].substr(std::min(prefix.size(), words[0].size()));
    };
    CHECK(told(folder.path() / "none.snap") == ": there is no such file");
    write(bad, {good.begin(), good.end() - 10});
    CHECK(told(bad).find("the checksum is wrong: the file was damaged or cut off") != std::string::npos);
    std::vector<char> flipped = good;
    flipped[good.size() / 2] ^= 1;
    write(bad, flipped);
    CHECK(told(bad).find("the checksum is wrong") != std::string::npos);
    write(bad, std::vector<char>(100, 'x'));
    CHECK(told(bad) == ", byte 0: a group's snapshot begins with \"SPKNGRUP\"; this file does not");
    CHECK(told(file, 1) == ": was written with the outer optimizer \"average\", and this run has \"outer sgd\"");

    Solver alone(momentum, branching_net(5), {.threads = 1});
    CHECK_THROWS_WITH_AS(
        alone.restore(file),
        (file.string() + ", byte 0: is a snapshot of a group of workers; AveragingSolver reads it").c_str(),
        DataError);
    run_on_threads(2, [&](Communicator& group) {
      AveragingSolver solver(momentum, small_net(4), group, every_kind(0), {.threads = 1});
      CHECK_THROWS_AS(solver.restore(file), DataError);
    });
    run_on_threads(2, [&](Communicator& group) {
      AveragingSolver solver(momentum, branching_net(5), group, {.history = SolverHistory::Reset}, {.threads = 1});
      CHECK_THROWS_WITH_AS(
          solver.restore(file),
          doctest::Contains("with the solver history \"kept\", and this run has \"reset\""),
          DataError);
    });
    run_on_threads(2, [&](Communicator& group) {
      AveragingSolver solver(momentum, branching_net(5), group, every_kind(0), {.threads = 1, .seed = 9});
      CHECK_THROWS_WITH_AS(solver.restore(file), doctest::Contains("is of a run with seed"), DataError);
    });
  }
}
