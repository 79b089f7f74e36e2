// A net's training step, or a forward pass, for other programs to time, on the CPU or a GPU. The batch is random,
// always the same and already where the net runs. Says "ready sparknet, BACKEND; X FLOP and Y bytes a step" (see Work),
// then reads lines "each N" and "step N". For each it makes N steps that it waits for one by one; for "step" and where
// N is at least 2 as many again that it asks for together. It answers with the mean loss of those waited for, the
// milliseconds of each, and the mean milliseconds of the others: "6.907755 41.93 41.88 40.71" for "step 2".

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
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
  bool strict = false, bf16 = false, infer = false, freeze = false, recompute = false;
  std::optional<bool> nhwc = {};
};

struct Model {
  NetParam (*net)(Dim batch);
  int classes;
};

const std::map<std::string, Model> models = {
    {"lenet", {[](Dim batch) { return example::lenet(batch, batch); }, 10}},
    {"cifar10_quick", {[](Dim batch) { return example::cifar10_quick(batch); }, 10}},
    {"alexnet", {[](Dim batch) { return example::alexnet(batch); }, 1000}},
    {"caffenet", {[](Dim batch) { return example::caffenet(batch); }, 1000}},
    {"resnet50", {[](Dim batch) { return example::resnet50(batch); }, 1000}},
};

/// The least that any program does in a training step, or forward alone: the multiplications and additions of
/// convolutions and inner products, and what these read and write if all other layers are done along with them.
struct Work {
  double flop = 0, bytes = 0;
};

Work work_of(const NetParam& net, const Tensor& params, bool backward) {
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
    const int passes = !backward ? 1 : first ? 2 : 3;
    work.flop += products * passes;
    // Bottom and top, then bottom and the top's gradient, then the bottom's gradient.
    const auto bottom = static_cast<double>(layer.bottom_shapes[0].count());
    const auto top = static_cast<double>(layer.top_shapes[0].count());
    numbers += bottom * passes + top * (backward ? 2 : 1);
  }
  // Weights are read forward and backward, gradients written; then weights, gradients and momentum are read, and two of
  // them written.
  numbers += (backward ? 8 : 1) * static_cast<double>(params.count());
  work.bytes = numbers * static_cast<double>(size_of(params.dtype()));
  return work;
}

void set_inputs(Net& net, int classes) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> pixel(-1, 1);
  std::uniform_int_distribution<int> label(0, classes - 1);
  for (const InferredLayer& layer : infer_shapes(net.param(), net.options().phase)) {
    if (layer.param.type() != "RDDLayer") continue;
    const bool labels = layer.param.name() == "label";
    Tensor values(layer.top_shapes[0]);
    for (float& value : values.span<float>()) value = labels ? static_cast<float>(label(random)) : pixel(random);
    net.set_input(layer.param.name(), values);
  }
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// `steps(n)` makes n of them and returns the sum of their losses.
template <class Steps>
void serve(Steps steps) {
  std::string word;
  for (int count = 0; std::cin >> word >> count && count > 0;) {
    std::vector<double> times;
    double loss = 0;
    for (int i = 0; i < count; ++i) {
      const auto start = std::chrono::steady_clock::now();
      loss += steps(1);
      times.push_back(milliseconds_since(start));
    }
    if (word == "step" && count > 1) {
      const auto start = std::chrono::steady_clock::now();
      steps(count);
      times.push_back(milliseconds_since(start) / count);
    }
    fmt::print("{:.6f}", loss / count);
    for (const double time : times) fmt::print(" {:.4f}", time);
    fmt::print("\n");
    std::fflush(stdout);
  }
}

void say_ready(Net& net, const Work& work) {
  fmt::print(
      "ready sparknet, {}; {:.4e} FLOP and {:.4e} bytes a step\n",
      net.backend().description(),
      work.flop,
      work.bytes);
  std::fflush(stdout);
}

/// Lets batch normalisations scale by 1, which have seen no batch.
void set_variances(Net& net) {
  WeightCollection weights = net.weights();
  for (std::size_t i = 0; i < net.params().size(); ++i) {
    const std::string& name = net.params()[i].name;
    if (name == "variance" || name == "factor") std::ranges::fill(weights.tensor(i).span<float>(), 1.0f);
  }
  net.set_weights(weights);
}

void infer(const Model& model, const Arguments& a) {
  Net net(
      model.net(a.batch),
      {.phase = Phase::Test,
       .device = a.device,
       .tf32 = !a.strict,
       .bf16 = a.bf16,
       .nhwc = a.nhwc,
       .threads = a.threads,
       .freeze = a.freeze});
  set_variances(net);
  set_inputs(net, model.classes);
  say_ready(net, work_of(net.param(), net.param_arena(), false));
  serve([&](int count) {
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += net.forward();
    return sum;
  });
}

void train(const Model& model, const Arguments& a) {
  // What a net learns from noise does not matter; at this rate none of them gets lost.
  Solver solver(
      {.base_lr = 0.001, .momentum = 0.9, .weight_decay = 0.0005},
      model.net(a.batch),
      {.device = a.device,
       .tf32 = !a.strict,
       .bf16 = a.bf16,
       .nhwc = a.nhwc,
       .threads = a.threads,
       .recompute = a.recompute});
  set_inputs(solver.net(), model.classes);
  say_ready(solver.net(), work_of(solver.net().param(), solver.net().param_arena(), true));
  serve([&](int count) { return solver.step(count); });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app("Trains a net on random numbers, a block of steps for each line \"step N\" that it reads.", "net_step");
  app.add_option("--net", a.net, "lenet, cifar10_quick, alexnet, caffenet or resnet50")
      ->required()
      ->check(CLI::IsMember(models));
  app.add_option("--batch", a.batch, "Examples in a batch")->required()->check(cli::at_least(1, 6));
  cli::add_device(&app, a.device);
  cli::add_forms(&app, a.bf16, a.nhwc);
  CLI::Option* infers = app.add_flag("--infer", a.infer, "Forward passes of the test phase instead");
  app.add_flag("--freeze", a.freeze, "With --infer: let the net prepare its weights")->needs(infers);
  app.add_flag("--recompute", a.recompute, "Compute cheap blobs again in the backward pass");
  app.add_flag("--strict", a.strict, "Keep a GPU from rounding factors to TF32");
  app.add_option("--threads", a.threads, "Threads that compute (all cores)")->check(cli::at_least(0, 6));
  CLI11_PARSE(app, argc, argv);
  try {
    (a.infer ? infer : train)(models.at(a.net), a);
  } catch (const std::exception& error) {
    fmt::print(stderr, "net_step: {}\n", error.what());
    return 1;
  }
}
