// SparkNet's experiment on one machine: time to an accuracy over tau and the number of workers, as lines of CSV.
// paper_curves.py runs it, adds the time of communication and draws.

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "examples/lenet/digits.h"
#include "examples/lenet/lenet.h"
#include "sparknet/data/mnist.h"
#include "sparknet/distributed/averaging_solver.h"

namespace {

using namespace sparknet;

struct Arguments {
  std::vector<int> workers = {1, 2, 4, 8};
  std::vector<std::int64_t> taus = {1, 5, 10, 50, 100};
  double target = 0.98, lr_exponent = 0;
  std::int64_t most = 4000, check = 25;
  Dim batch = 64;
  std::uint64_t seed = 1;
};

/// Of the calling thread: what a worker computes counts the same whether it has a core to itself or not.
double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Data {
  SourcePtr train, test;
};

Data read_data() {
  const char* folder = std::getenv("SPARKNET_DATA_DIR");
  const std::filesystem::path mnist = std::filesystem::path(folder ? folder : "data") / "mnist";
  if (std::filesystem::is_directory(mnist)) return {read_mnist_folder(mnist, true), read_mnist_folder(mnist, false)};
  fmt::print(stderr, "paper_curves: no MNIST in {}, so digits are rendered\n", mnist.string());
  return {example::rendered_digits(true), example::rendered_digits(false)};
}

/// What a run took to the target. `seconds` is the time of the slowest worker, summed over the rounds.
struct Run {
  std::int64_t rounds = 0, iterations = 0;
  double seconds = 0, accuracy = 0;
};

double accuracy_of(Solver& solver) {
  for (const TestResult& result : solver.test())
    if (result.output == "accuracy") return result.value;
  return 0;
}

/// The first iteration not below `iteration` at which the accuracy is looked at.
std::int64_t next_check(std::int64_t iteration, std::int64_t every) {
  return (iteration / every + 1) * every;
}

Run train(const Arguments& a, const Data& data, int workers, std::int64_t tau, Dim batch) {
  SolverParam param = example::lenet_solver();
  // The naive scheme's workers make one batch of the usual size together.
  if (batch == a.batch) param.base_lr *= std::pow(workers, a.lr_exponent);
  param.max_iter = a.most;
  param.test_interval = 0;
  const std::map<std::string, Transform> to_unit = {{"data", {.scale = 1.0 / 256}}};
  Run run;
  run_on_threads(workers, [&](Communicator& group) {
    Solver solver(param, example::lenet(batch), {.threads = 1, .seed = a.seed});
    AveragingSolver averaging(solver, group, {.round = {.max_steps = tau}});
    averaging.set_training_data(data.train, {.shuffle = true, .seed = a.seed, .transforms = to_unit, .prefetch = 0});
    solver.set_test_data(data.test, {.transforms = to_unit});
    std::int64_t check = next_check(0, a.check);
    for (bool done = false; !done;) {
      const double begin = cpu_seconds();
      averaging.round();
      const auto ranks = static_cast<std::size_t>(workers);
      Tensor told(Shape(workers + 1), DType::F64);
      const auto seconds = told.span<double>();
      seconds[static_cast<std::size_t>(group.rank())] = cpu_seconds() - begin;
      if (group.rank() == 0) {
        ++run.rounds;
        run.iterations = solver.iteration();
        if (solver.iteration() >= check) {
          run.accuracy = accuracy_of(solver);
          check = next_check(solver.iteration(), a.check);
        }
        seconds[ranks] = run.accuracy >= a.target || solver.iteration() >= a.most;
      }
      group.all_reduce_sum(told);
      if (group.rank() == 0) run.seconds += *std::max_element(seconds.begin(), seconds.end() - 1);
      done = seconds[ranks] > 0;
    }
  });
  return run;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Trains LeNet to an accuracy for each number of workers and each tau.", "paper_curves");
  app.add_option("--workers", a.workers, "Numbers of workers (1 2 4 8)")->check(CLI::PositiveNumber);
  app.add_option("--tau", a.taus, "Steps between two averages (1 5 10 50 100)")->check(CLI::PositiveNumber);
  app.add_option("--target", a.target, "Test accuracy to reach (0.98)")->check(CLI::Range(0.0, 1.0));
  app.add_option("--most", a.most, "Iterations after which a run gives up (4000)")->check(CLI::PositiveNumber);
  app.add_option("--check", a.check, "Iterations between two looks at the accuracy (25)")->check(CLI::PositiveNumber);
  app.add_option("--lr-exponent", a.lr_exponent, "P: the learning rate of K workers is K^P times that of one (0)");
  app.add_option("--seed", a.seed, "Of the weights and the order of the examples (1)");
  CLI11_PARSE(app, argc, argv);
  try {
    const Data data = read_data();
    const auto print = [&](const char* scheme, int workers, std::int64_t tau, Dim batch) {
      const Run run = train(a, data, workers, tau, batch);
      fmt::print(
          "{},{},{},{},{},{},{},{:.4f},{:.4f},{}\n",
          scheme,
          workers,
          tau,
          batch,
          a.seed,
          run.rounds,
          run.iterations,
          run.seconds,
          run.accuracy,
          run.accuracy >= a.target ? 1 : 0);
      std::fflush(stdout);
    };
    fmt::print("scheme,workers,tau,batch,seed,rounds,iterations,seconds,accuracy,reached\n");
    print("serial", 1, 1, a.batch);
    for (const int workers : a.workers) {
      // Each iteration's batch is divided among the workers, and the sum of the gradients travels.
      if (workers > 1) print("naive", workers, 1, a.batch / workers);
      for (const std::int64_t tau : a.taus) print("averaging", workers, tau, a.batch);
    }
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "paper_curves: {}\n", error.what());
    return 1;
  }
}
