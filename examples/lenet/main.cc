// Trains LeNet on MNIST, or on digits drawn here where there is none. README.md says how to run it.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "curve.h"
#include "digits.h"
#include "lenet.h"
#include "sparknet/data/mnist.h"
#include "sparknet/distributed/averaging_solver.h"
#ifdef LENET_WITH_MPI
#include "sparknet/distributed/mpi.h"
#endif
#include "sparknet/error.h"
#include "sparknet/solver.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"

namespace {

namespace fs = std::filesystem;
using namespace sparknet;
using Clock = std::chrono::steady_clock;

struct Arguments {
  std::int64_t iterations = 10000, snapshot_every = 1000, display = 100, test_interval = 500;
  std::int64_t tau = 10;
  Dim batch = 64;
  double lr = 0.01, timeout = 600;
  int threads = 0, workers = 1, quorum = 0;
  Device device = {};
  std::uint64_t seed = 1;
  std::string communicator = "threads", outer = "average";
  std::string line, data, snapshot, resume, dot, output;
  bool rendered = false, synchronous = false, bf16 = false;
  std::optional<bool> nhwc = {};
};

/// A file of the repository this was built from, or of the working directory where that is gone.
fs::path in_repository(const char* name) {
  const fs::path repository = LENET_REPOSITORY;
  if (!fs::is_directory(repository)) return name;
  const fs::path near = fs::proximate(repository / name);
  return *near.begin() == ".." ? repository / name : near;
}

/// What is printed for a mistake in the options; for an unknown one, the nearest there is.
std::string explain(const CLI::App* app, const CLI::Error& error) {
  std::string text = error.what();
  const std::vector<std::string> unknown = app->remaining();
  if (!unknown.empty()) text = cli::explain_argument(app, unknown[0]);
  return fmt::format("lenet: {}\nlenet --help lists the options\n", text);
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 0; i < argc; ++i) a.line += fmt::format("{}{}", i > 0 ? " " : "", argv[i]);
  a.output = in_repository("build/lenet").string();
  CLI::App app("Trains the LeNet of SparkNet's README with Caffe's lenet_solver settings.", "lenet");
  app.get_formatter()->column_width(24);
  app.failure_message(explain);
  const auto option = [&](const char* name, auto& value, const char* type, const std::string& what) {
    return app.add_option(name, value, what)->type_name(type);
  };
  option("--iterations", a.iterations, "N", "Steps to train (10000)")->check(cli::at_least(0));
  option("--batch", a.batch, "N", "Examples in a step (64)")->check(cli::at_least(1));
  option("--threads", a.threads, "N", "Threads that compute (all cores)")->check(cli::at_least(1));
  cli::add_device(&app, a.device);
  cli::add_forms(&app, a.bf16, a.nhwc);
  option("--lr", a.lr, "X", "Caffe's base_lr (0.01)")->check(CLI::PositiveNumber);
  const auto* workers =
      option("--workers", a.workers, "N", "Nets that train side by side and are averaged (1)")->check(cli::at_least(1));
  option("--tau", a.tau, "N", "Steps of each worker between two averages (10)")->check(cli::at_least(1));
  app.add_flag("--synchronous", a.synchronous, "Workers use the mean of their gradients in every step");
  option("--communicator", a.communicator, "NAME", "threads, or mpi: mpirun -n N lenet --communicator mpi (threads)")
      ->check(CLI::IsMember({"threads", "mpi"}));
  option("--outer", a.outer, "NAME", "What the mean becomes: average, diloco, slowmo or elastic (average)")
      ->check(CLI::IsMember({"average", "diloco", "slowmo", "elastic"}));
  option("--quorum", a.quorum, "N", "Workers on threads that a round needs at least (all)")->check(cli::at_least(1));
  option("--timeout", a.timeout, "S", "Seconds that the first worker waits for the last (600)")
      ->check(CLI::PositiveNumber);
  option("--seed", a.seed, "N", "Of the weights and the order of the examples (1)")->check(cli::at_least(0, 19));
  option("--data", a.data, "DIR", "MNIST, in DIR or DIR/mnist ($SPARKNET_DATA_DIR/mnist, data/mnist)");
  app.add_flag("--rendered", a.rendered, "Train on digits drawn here, whatever --data says");
  option("--snapshot", a.snapshot, "PREFIX", "Write snapshots PREFIX_iter_N.snap (none)");
  option("--snapshot-every", a.snapshot_every, "N", "Steps between snapshots (1000); 0: one at the end")
      ->check(cli::at_least(0));
  option("--resume", a.resume, "FILE", "Go on from a snapshot");
  option("--dot", a.dot, "FILE", "Also write the net as a Graphviz graph");
  option("--display", a.display, "N", "Steps between lines (100); 0: one at the end")->check(cli::at_least(0));
  option("--test-interval", a.test_interval, "N", "Steps between tests (500); 0: one at the end")
      ->check(cli::at_least(0));
  option("--output", a.output, "DIR", fmt::format("For lenet.log and lenet.svg ({})", a.output));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  const char* started = std::getenv("OMPI_COMM_WORLD_SIZE");
  const int processes = started ? std::atoi(started) : 1;
  const auto refuse = [](const std::string& why) {
    fmt::print(stderr, "lenet: {}\n", why);
    std::exit(2);
  };
  if (a.communicator != "mpi" && processes > 1)
    refuse(fmt::format("mpirun started {} processes that would each train alone; add --communicator mpi", processes));
  if (a.communicator == "mpi" && *workers && a.workers != processes)
    refuse(fmt::format(
        "--workers is {0}, and mpirun started {1} process{2}: mpirun -n {0}",
        a.workers,
        processes,
        processes == 1 ? "" : "es"));
  if (a.communicator == "mpi") a.workers = processes;
  if (a.synchronous && a.workers == 1) refuse("--synchronous is for several workers: --workers N");
#ifndef LENET_WITH_MPI
  if (a.communicator == "mpi")
    refuse("this build has no MPI; scripts/setup.sh mpi installs it, and scripts/build.sh release lenet builds again");
#endif
  return a;
}

struct Data {
  std::string name, text;
  SourcePtr train, test;
};

bool has_mnist(const fs::path& folder) {
  return fs::exists(folder / "train-images-idx3-ubyte") || fs::exists(folder / "train-images-idx3-ubyte.gz");
}

Data rendered(const std::string& text) {
  return {"rendered digits", text, example::rendered_digits(true), example::rendered_digits(false)};
}

Data find_data(const Arguments& a) {
  if (a.rendered) return rendered("data: digits rendered here");
  std::vector<fs::path> folders;
  if (!a.data.empty()) {
    folders = {a.data, fs::path(a.data) / "mnist"};
  } else {
    const char* variable = std::getenv("SPARKNET_DATA_DIR");
    if (variable && *variable) folders.push_back(fs::path(variable) / "mnist");
    folders.push_back("data/mnist");
    folders.push_back(in_repository("data/mnist"));
  }
  for (const fs::path& folder : folders)
    if (has_mnist(folder))
      return {
          "MNIST",
          fmt::format("data: MNIST in {}", folder.string()),
          read_mnist_folder(folder, true),
          read_mnist_folder(folder, false)};
  if (!a.data.empty())
    throw Error(fmt::format(
        "--data {0}: {1}; scripts/fetch_mnist.sh fetches MNIST, and --rendered does without",
        a.data,
        fs::is_directory(a.data) ? "MNIST's train-images-idx3-ubyte[.gz] is neither there nor in its folder mnist"
                                 : "there is no such folder"));
  return rendered(
      "data: no MNIST in data/mnist (scripts/fetch_mnist.sh fetches it, --data says where it is), so training on "
      "digits rendered here");
}

volatile std::sig_atomic_t caught_signal = 0;

/// The first Ctrl-C ends training after the step; a second one ends the program at once.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int number) { caught_signal = number; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// A short name of the weights' exact bits (FNV-1a), by which two runs can be compared.
std::uint64_t fingerprint(const Tensor& arena) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const float value : arena.span<const float>()) {
    hash ^= std::bit_cast<std::uint32_t>(value);
    hash *= 0x100000001b3;
  }
  return hash;
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using Log = std::unique_ptr<std::FILE, Close>;

Log open_log(const fs::path& file, bool append) {
  fs::create_directories(file.parent_path().empty() ? "." : file.parent_path());
  Log log(std::fopen(file.c_str(), append ? "a" : "w"));
  if (!log) throw DataError(file.string(), -1, "cannot be written");
  std::setvbuf(log.get(), nullptr, _IOLBF, BUFSIZ);
  return log;
}

/// What is trained, and how: the same for all workers.
struct Training {
  SolverParam param;
  NetParam net;
  NetOptions net_options;
  FeedOptions feed;
  AveragingOptions averaging;
};

Training plan(const Arguments& a) {
  SolverParam param = example::lenet_solver();
  param.base_lr = a.lr;
  param.max_iter = a.iterations;
  param.test_interval = a.test_interval;
  param.test_initialization = false;
  param.display = 1;
  param.snapshot = a.snapshot_every;
  param.snapshot_prefix = a.snapshot;
  NetOptions net_options{.device = a.device, .bf16 = a.bf16, .nhwc = a.nhwc, .threads = a.threads, .seed = a.seed};
  if (a.workers > 1) {  // they share the threads
    const int all = a.threads > 0 ? a.threads : static_cast<int>(std::thread::hardware_concurrency());
    net_options.threads = std::max(1, all / a.workers);
  }
  AveragingOptions averaging{.round = {.max_steps = a.tau}, .quorum = a.quorum};
  averaging.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(a.timeout * 1000));
  if (a.synchronous) averaging.gradients.emplace();
  if (a.outer == "diloco") averaging.outer = [] { return diloco(); };
  if (a.outer == "slowmo") averaging.outer = [] { return slowmo(); };
  if (a.outer == "elastic") averaging.outer = [] { return elastic_average(); };
  const FeedOptions feed{.shuffle = true, .seed = a.seed, .transforms = {{"data", {.scale = 1.0 / 256}}}};
  return {std::move(param), example::lenet(a.batch), std::move(net_options), feed, std::move(averaging)};
}

/// What every worker but the first does.
void follow(const Arguments& a, const Data& data, Communicator& group) {
  Training training = plan(a);
  Solver solver(std::move(training.param), std::move(training.net), training.net_options);
  AveragingSolver averaging(solver, group, std::move(training.averaging));
  averaging.set_training_data(data.train, training.feed);
  if (!a.resume.empty()) averaging.restore(a.resume);
  averaging.set_callbacks({.stop = [] { return caught_signal != 0; }});
  averaging.solve();
}

/// Trains alone where there is no group, and reports.
int lead(const Arguments& a, const Data& data, Communicator* group, Clock::time_point start) {
  const Clock::time_point data_read = Clock::now();
  const bool terminal = isatty(STDOUT_FILENO);
  const fs::path output = a.output;
  if (const fs::path folder = fs::path(a.snapshot).parent_path(); !folder.empty()) fs::create_directories(folder);
  Training training = plan(a);
  Solver solver(std::move(training.param), std::move(training.net), training.net_options);
  std::optional<AveragingSolver> averaging;
  if (group) {
    averaging.emplace(solver, *group, std::move(training.averaging));
    averaging->set_training_data(data.train, training.feed);
    if (!a.resume.empty()) averaging->restore(a.resume);
  } else {
    solver.set_training_data(data.train, training.feed);
    if (!a.resume.empty()) solver.restore(a.resume);
  }
  solver.set_test_data(data.test, {.transforms = training.feed.transforms});
  if (!a.dot.empty()) example::write_whole(a.dot, solver.net().dot());

  const Log log = open_log(output / "lenet.log", !a.resume.empty());
  fmt::print(log.get(), "{}\n", a.line);
  const std::int64_t first = solver.iteration();
  cli::ProgressReport report({first, a.iterations, a.batch * a.workers, a.display, terminal, log.get()});
  report.line(data.text);
  report.line(solver.net().summary());
  if (first > 0) report.line(fmt::format("resumed from {} at iteration {}", a.resume, first));
  if (first >= a.iterations && first > 0)
    report.line(fmt::format("nothing is left to train: --iterations is {}", a.iterations));

  example::Curve curve;
  std::optional<double> accuracy;
  const auto tested = [&](std::int64_t iteration, const std::vector<TestResult>& results) {
    double loss = 0;
    for (const TestResult& result : results) (result.output == "accuracy" ? accuracy.emplace() : loss) = result.value;
    curve.test_loss.push_back({iteration, loss});
    curve.test_accuracy.push_back({iteration, *accuracy});
    report.line(fmt::format("iteration {}: test accuracy {:.4f}, test loss {:.4f}", iteration, *accuracy, loss));
    report.start_clock();
  };
  solver.set_callbacks({
      .progress =
          [&](const Progress& progress) {
            curve.train_loss.push_back({progress.iteration, progress.loss});
            report.iteration(progress.iteration, progress.loss, progress.rate);
          },
      .testing = [&](std::int64_t) { report.pause_clock(); },
      .tested = tested,
      .snapshotted = [&](const fs::path& file) { report.line(fmt::format("snapshot {}", file.string())); },
      .stop = [] { return caught_signal != 0; },
  });

  const auto after_round = [&](const RoundStats& stats) {
    for (const std::string& fault : stats.faults)
      report.line(fmt::format("iteration {}: lost {}; {} workers go on", stats.iteration, fault, stats.workers));
    curve.train_loss.push_back({stats.iteration, stats.loss});
    report.iteration(stats.iteration, stats.loss, stats.rate);
    const bool due = a.test_interval > 0 && stats.iteration / a.test_interval > stats.first_iteration / a.test_interval;
    if (!due || stats.iteration >= a.iterations) return;
    report.pause_clock();
    tested(stats.iteration, solver.test());
  };
  if (averaging)
    averaging->set_callbacks({
        .after_round = after_round,
        .snapshotted = [&](const fs::path& file) { report.line(fmt::format("snapshot {}", file.string())); },
        .stop = [] { return caught_signal != 0; },
    });

  const auto milliseconds = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  const Clock::time_point ready = Clock::now();
  fmt::print(
      log.get(),
      "ready after {:.1f} ms, {:.1f} of them to read the data\n",
      milliseconds(ready - start),
      milliseconds(data_read - start));
  catch_signals();
  report.start_clock();
  if (averaging)
    averaging->solve();
  else
    solver.solve();
  const bool interrupted = solver.iteration() < a.iterations;
  if (!interrupted && (averaging || !accuracy)) tested(solver.iteration(), solver.test());
  report.finish();

  const int threads = solver.net().threads();
  curve.title = fmt::format("LeNet on {}", data.name);
  curve.subtitle = fmt::format(
      "batch {}, seed {}, {}{}",
      a.batch,
      a.seed,
      a.workers == 1  ? ""
      : a.synchronous ? fmt::format("{} workers with gradients in common, each on ", a.workers)
                      : fmt::format("{} workers averaged every {} steps, each on ", a.workers, a.tau),
      a.device != Device::cpu() ? to_string(a.device)
      : threads == 1            ? "1 thread"
                                : fmt::format("{} threads", threads));
  example::write_whole(output / "lenet.svg", example::to_svg(curve));
  fmt::print(log.get(), "weights fnv1a {:016x}\n", fingerprint(solver.net().weights().arena()));
  report.line(fmt::format("log and curve: {}", (output / "lenet.{log,svg}").string()));
  if (interrupted) {
    report.line(fmt::format(
        "stopped after iteration {}; {}",
        solver.iteration(),
        a.snapshot.empty() ? "nothing was saved to go on from (--snapshot PREFIX does that)"
                           : fmt::format("to go on: --resume {}_iter_{}.snap", a.snapshot, solver.iteration())));
    return 128 + (caught_signal ? caught_signal : SIGTERM);  // where another worker was told to stop
  }
  report.line(fmt::format("test accuracy {:.4f}", *accuracy));
  return 0;
}

int run(const Arguments& a, Clock::time_point start) {
  const Data data = find_data(a);
#ifdef LENET_WITH_MPI
  if (a.communicator == "mpi") {
    const std::unique_ptr<Communicator> group = mpi_communicator({.timeout = plan(a).averaging.timeout});
    if (group->rank() == 0) return lead(a, data, group.get(), start);
    catch_signals();
    follow(a, data, *group);
    return 0;
  }
#endif
  if (a.workers == 1) return lead(a, data, nullptr, start);
  int status = 0;
  run_on_threads(a.workers, [&](Communicator& group) {
    if (group.rank() == 0)
      status = lead(a, data, &group, start);
    else
      follow(a, data, group);
  });
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const Clock::time_point start = Clock::now();
  const Arguments arguments = parse(argc, argv);
  try {
    return run(arguments, start);
  } catch (const fs::filesystem_error& error) {
    fmt::print(stderr, "lenet: {}: {}\n", error.path1().string(), error.code().message());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "lenet: {}\n", error.what());
    return 1;
  }
}
