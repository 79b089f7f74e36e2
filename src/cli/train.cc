#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include "sparknet/caffe/prototxt.h"
#include "sparknet/caffe/solver_state.h"
#include "sparknet/caffe/weights.h"
#include "src/cli/commands.h"
#include "src/cli/outputs.h"
#include "src/cli/progress.h"

namespace sparknet::cli {
namespace {

namespace fs = std::filesystem;

volatile std::sig_atomic_t stopped_by = 0, wants_snapshot = 0;

void on_signal(int number, Effect effect) {
  struct sigaction action {};
  action.sa_flags = SA_RESTART;  // a line that is being written goes on
  if (effect == Effect::None) {
    action.sa_handler = SIG_IGN;
  } else if (effect == Effect::Stop) {
    action.sa_handler = [](int caught) { stopped_by = caught; };
    action.sa_flags |= static_cast<int>(SA_RESETHAND);  // a second one ends the program at once
  } else {
    action.sa_handler = [](int) { wants_snapshot = 1; };
  }
  sigaction(number, &action, nullptr);
}

/// Who read what is printed is gone, as tee is after Ctrl-C: the snapshot is still to be written, and its line is lost.
void on_closed_pipe() {
  struct sigaction action {};
  action.sa_handler = [](int caught) {
    if (!stopped_by) stopped_by = caught;
  };
  sigaction(SIGPIPE, &action, nullptr);
}

/// Caffe's rule: without a prefix, or with a folder, snapshots are called as the solver is.
std::string prefix_of(const caffe::SolverFile& file, const fs::path& solver) {
  const std::string& given = file.solver.snapshot_prefix;
  if (given.empty()) return fs::path(solver).replace_extension().string();
  return fs::is_directory(given) ? (fs::path(given) / solver.stem()).string() : given;
}

/// Hours of training are not to end with a snapshot that cannot be written.
void require_folder(const std::string& prefix) {
  const fs::path folder = fs::path(prefix).parent_path();
  if (::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0) return;
  throw DataError(
      prefix,
      -1,
      fmt::format(
          "no snapshot can be written there: {}; make the folder, or change snapshot_prefix",
          std::generic_category().message(errno)));
}

struct TestNet {
  Net net;
  std::int64_t batches;
  /// "test", or "test 1 (on-train-set)" where there are several.
  std::string name;
};

class Training {
 public:
  Training(const TrainArguments& arguments, caffe::SolverFile file)
      : arguments_(arguments), file_(std::move(file)), solver_(make_solver()) {
    prefix_ = prefix_of(file_, arguments.solver);
    if (file_.solver.snapshot > 0 || file_.snapshot_after_train) require_folder(prefix_);
    make_test_nets();
    require_feeds(solver_.net());
    begin();
  }

  int run() {
    const SolverParam& s = file_.solver;
    const bool terminal = isatty(STDOUT_FILENO);
    report_.emplace(
        ProgressReport::Options{solver_.iteration(), s.max_iter, solver_.examples_per_step(), s.display, terminal});
    if (terminal) {
      report_->line(solver_.net().summary());
      if (file_.solver_mode == caffe::SolverMode::GPU) report_->line("solver_mode is GPU; this runs on the CPU");
    }
    if (solver_.iteration() > 0)
      report_->line(fmt::format("{} goes on at iteration {}", arguments_.snapshot, solver_.iteration()));
    on_signal(SIGINT, arguments_.sigint);
    on_signal(SIGHUP, arguments_.sighup);
    on_signal(SIGTERM, Effect::Stop);
    on_closed_pipe();
    report_->start_clock();
    while (solver_.iteration() < s.max_iter && !stopped_by) {
      const std::int64_t before = solver_.iteration();
      if (s.test_interval > 0 && before % s.test_interval == 0 && (before > 0 || s.test_initialization)) test();
      if (stopped_by) break;
      const double rate = solver_.rate(), loss = solver_.step();
      report_->iteration(solver_.iteration(), loss, rate);
      const bool due = s.snapshot > 0 && solver_.iteration() % s.snapshot == 0;
      if (!due && !wants_snapshot) continue;
      wants_snapshot = 0;
      snapshot();
    }
    if (file_.snapshot_after_train && snapshot_at_ != solver_.iteration()) snapshot();
    if (!stopped_by && s.test_interval > 0 && solver_.iteration() % s.test_interval == 0) test();
    report_->finish();
    if (stopped_by) report_->line(fmt::format("stopped after iteration {}", solver_.iteration()));
    return stopped_by ? 128 + stopped_by : 0;
  }

 private:
  NetOptions options(const NetState& state, std::uint64_t seed) const {
    return {
        .phase = state.phase,
        .device = arguments_.device,
        .bf16 = arguments_.bf16,
        .nhwc = arguments_.nhwc,
        .threads = arguments_.threads,
        .seed = seed,
        .recompute = arguments_.recompute,
        .level = state.level,
        .stages = state.stages};
  }

  Solver make_solver() {
    SolverParam param = file_.solver;
    // Tests, snapshots and the means of losses are made here. (0, which is no number of losses, is still refused.)
    param.test_interval = param.snapshot = 0;
    if (param.average_loss > 1) param.average_loss = 1;
    const std::uint64_t seed =
        file_.random_seed < 0 ? std::random_device()() : static_cast<std::uint64_t>(file_.random_seed);
    NetState state = file_.train_state;
    if (arguments_.level != 0) state.level = arguments_.level;
    for (std::string& stage : split(arguments_.stage)) state.stages.push_back(std::move(stage));
    return Solver(std::move(param), file_.train, options(state, seed));
  }

  void make_test_nets() {
    for (std::size_t i = 0; i < file_.tests.size(); ++i) {
      const NetState& state = file_.test_states[i];
      std::string name = "test";
      if (file_.tests.size() > 1) {
        name += fmt::format(" {}", i);
        for (const std::string& stage : state.stages) name += fmt::format(" ({})", stage);
      }
      tests_.push_back(
          {Net(file_.tests[i], options(state, solver_.net().options().seed), solver_.net()),
           file_.test_iter[i],
           std::move(name)});
      require_feeds(tests_.back().net);
    }
  }

  /// The weights to begin with, or the run to go on with.
  void begin() {
    if (!arguments_.weights.empty()) file_.weights = {arguments_.weights};
    for (const std::string& files : file_.weights) load_weights(solver_.net(), files);
    if (arguments_.snapshot.empty()) return;
    if (fs::path(arguments_.snapshot).extension() == ".snap")
      solver_.restore(arguments_.snapshot);
    else
      caffe::restore_state(solver_, arguments_.snapshot);
    snapshot_at_ = solver_.iteration();
  }

  void test() {
    report_->pause_clock();
    for (TestNet& test : tests_) {
      test.net.rewind();
      const Means means = run_batches(test.net, test.batches, [](std::int64_t, double) { return !stopped_by; });
      if (stopped_by) return;
      std::string text = fmt::format("iteration {}: {}", solver_.iteration(), test.name);
      for (const TestResult& output : means.outputs) text += "  " + result_text(output.output, output.value);
      if (file_.test_compute_loss) text += "  " + result_text("total loss", means.loss);
      report_->line(text);
    }
    report_->start_clock();
  }

  void snapshot() {
    report_->pause_clock();
    const bool hdf5 = file_.snapshot_format == caffe::SnapshotFormat::HDF5;
    const std::string stem = fmt::format("{}_iter_{}", prefix_, solver_.iteration());
    fs::path state = stem + ".snap";
    if (file_.type == "AdamW") {  // Caffe's states know nothing of it
      caffe::write_model(solver_.net(), stem + (hdf5 ? ".caffemodel.h5" : ".caffemodel"));
      solver_.snapshot(state);
    } else {
      state = caffe::write_snapshot(solver_, prefix_, hdf5).state;
    }
    snapshot_at_ = solver_.iteration();
    report_->line(fmt::format("snapshot {}", state.string()));
    report_->start_clock();
  }

  const TrainArguments& arguments_;
  caffe::SolverFile file_;
  Solver solver_;
  std::vector<TestNet> tests_;
  std::string prefix_;
  std::optional<ProgressReport> report_;
  std::int64_t snapshot_at_ = -1;
};

}  // namespace

int train(const TrainArguments& arguments) {
  caffe::SolverFile file = caffe::read_solver(arguments.solver);
  if (file.solver.max_iter == 0)
    throw DataError(arguments.solver, -1, "max_iter is not given, so there is nothing to train");
  if (file.type == "AdamW" && file.random_seed < 0)
    throw DataError(arguments.solver, -1, "AdamW's snapshots go on only with the same seed: give a random_seed");
  return Training(arguments, std::move(file)).run();
}

}  // namespace sparknet::cli
