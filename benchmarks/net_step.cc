// A net's training step for other programs to time, on the CPU or a GPU. The batch is random, always the same and
// already where the net runs. Says "ready sparknet, BACKEND; X FLOP and Y bytes a step" (see Work), then reads lines
// "step N". For each it trains N steps that it waits for one by one, and where N is at least 2 as many again that it
// asks for together. It answers with the mean loss of those waited for, the milliseconds of each, and the mean
// milliseconds of the others: "6.907755 41.93 41.88 40.71" for N = 2.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "examples/lenet/lenet.h"
#include "examples/models/models.h"
#include "kernels/kernels.h"
#include "lenet_workload.h"
#include "sparknet/net.h"
#include "sparknet/solver.h"
#include "src/cli/options.h"

namespace {

using namespace sparknet;

struct Arguments {
  std::string net;
  int batch = 0, threads = 0;
  Device device = Device::cpu();
  bool strict = false;
};

struct Model {
  NetParam (*net)(Dim batch);
  int classes;
};

const std::map<std::string, Model> models = {
    {"lenet", {[](Dim batch) { return example::lenet(batch); }, 10}},
    {"caffenet", {[](Dim batch) { return example::caffenet(batch); }, 1000}},
    {"resnet50", {[](Dim batch) { return example::resnet50(batch); }, 1000}},
};

/// The least that any program does in a training step: the multiplications and additions of convolutions and inner
/// products, and what these read and write if all other layers are done along with them.
struct Work {
  double flop = 0, bytes = 0;
};

Work work_of(const NetParam& net, const Tensor& params) {
  std::vector<bench::LayerTimes> layers;
  bench::with_stopwatches(net, layers);  // counts the products of each
  std::map<std::string, double> flop;
  for (const bench::LayerTimes& layer : layers) flop[layer.name] = layer.flop;

  Work work;
  double numbers = 0;
  for (const InferredLayer& layer : infer_shapes(net, Phase::Train)) {
    const double products = flop[layer.param.name()];
    if (products == 0) continue;
    const bool first = layer.param.inputs()[0] == "data";  // its input needs no gradient
    work.flop += products * (first ? 2 : 3);
    // Bottom and top, then bottom and the top's gradient, then the bottom's gradient.
    const auto bottom = static_cast<double>(layer.bottom_shapes[0].count());
    const auto top = static_cast<double>(layer.top_shapes[0].count());
    numbers += bottom * (first ? 2 : 3) + top * 2;
  }
  // Weights are read forward and backward, gradients written; then weights, gradients and momentum are read, and two of
  // them written.
  numbers += 8 * static_cast<double>(params.count());
  work.bytes = numbers * static_cast<double>(size_of(params.dtype()));
  return work;
}

void set_inputs(Net& net, int classes) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> pixel(-1, 1);
  std::uniform_int_distribution<int> label(0, classes - 1);
  for (const InferredLayer& layer : infer_shapes(net.param(), Phase::Train)) {
    if (layer.param.type() != "RDDLayer") continue;
    const bool labels = layer.param.name() == "label";
    Tensor values(layer.top_shapes[0]);
    for (float& value : values.span<float>()) value = labels ? static_cast<float>(label(random)) : pixel(random);
    net.set_input(layer.param.name(), values);
  }
}

double timed_steps(Solver& solver, int steps, double& loss) {
  const auto start = std::chrono::steady_clock::now();
  loss += solver.step(steps);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void serve(Solver& solver) {
  std::string word;
  for (int steps = 0; std::cin >> word >> steps && steps > 0;) {
    std::vector<double> times;
    double loss = 0, of_others = 0;
    for (int i = 0; i < steps; ++i) times.push_back(timed_steps(solver, 1, loss));
    if (steps > 1) times.push_back(timed_steps(solver, steps, of_others) / steps);
    fmt::print("{:.6f}", loss / steps);
    for (const double time : times) fmt::print(" {:.4f}", time);
    fmt::print("\n");
    std::fflush(stdout);
  }
}

void run(const Arguments& a) {
  const Model& model = models.at(a.net);
  // What a net learns from noise does not matter; at this rate none of them gets lost.
  Solver solver(
      {.base_lr = 0.001, .momentum = 0.9, .weight_decay = 0.0005},
      model.net(a.batch),
      {.device = a.device, .tf32 = !a.strict, .threads = a.threads});
  set_inputs(solver.net(), model.classes);
  const Work work = work_of(solver.net().param(), solver.net().param_arena());
  fmt::print(
      "ready sparknet, {}; {:.4e} FLOP and {:.4e} bytes a step\n",
      solver.net().backend().description(),
      work.flop,
      work.bytes);
  std::fflush(stdout);
  serve(solver);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Trains a net on random numbers, a block of steps for each line \"step N\" that it reads.", "net_step");
  app.add_option("--net", a.net, "lenet, caffenet or resnet50")->required()->check(CLI::IsMember(models));
  app.add_option("--batch", a.batch, "Examples in a batch")->required()->check(cli::at_least(1, 6));
  cli::add_device(&app, a.device);
  app.add_flag("--strict", a.strict, "Keep a GPU from rounding factors to TF32");
  app.add_option("--threads", a.threads, "Threads that compute (all cores)")->check(cli::at_least(0, 6));
  CLI11_PARSE(app, argc, argv);
  try {
    run(a);
  } catch (const std::exception& error) {
    fmt::print(stderr, "net_step: {}\n", error.what());
    return 1;
  }
}
