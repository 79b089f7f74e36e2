// LeNet's training step for other programs to time. Reads lines "step N", trains N steps for each, and answers with the
// mean loss and the milliseconds of every step: "0.123456 9.31 9.28 ...".

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "examples/lenet/lenet.h"
#include "kernels/kernels.h"
#include "lenet_workload.h"
#include "sparknet/error.h"
#include "sparknet/net.h"

namespace {

using namespace sparknet;

constexpr std::string_view usage =
    "usage: lenet_step [--threads N] [--layers STEPS | --export FILE]\n"
    "  --threads N     threads that compute (all cores)\n"
    "  --layers STEPS  time each layer for so many steps and print a table\n"
    "  --export FILE   write the digits it trains on: u8 images of 28 x 28, then u8 labels\n"
    "With neither it reads lines \"step N\" from its input.\n";

double timed_step(Solver& solver, double& loss) {
  const auto start = std::chrono::steady_clock::now();
  loss += solver.step();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void write_bytes(std::ofstream& out, const Tensor& tensor, float factor) {
  for (const float value : tensor.span<const float>()) out.put(static_cast<char>(value * factor));
}

void export_digits(const bench::Digits& digits, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  write_bytes(out, digits.data, 256);
  write_bytes(out, digits.label, 1);
  if (!out.flush()) throw DataError(path, -1, "cannot be written");
  fmt::print("{}\n", digits.text);
}

void print_layers(const bench::Digits& digits, int threads, int steps) {
  std::vector<bench::LayerTimes> times;
  const auto solver = bench::make_solver(bench::with_stopwatches(example::lenet(bench::batch), times), digits, threads);
  std::vector<double> step_times;
  double loss = 0;
  for (int i = 0; i < steps; ++i) step_times.push_back(timed_step(*solver, loss));

  fmt::print(
      "LeNet, batch {}, {}, {}, medians of {} steps\n",
      bench::batch,
      digits.text,
      solver->net().backend().description(),
      steps);
  fmt::print("{:<10} {:>10} {:>10} {:>11} {:>10}\n", "", "forward ms", "GFLOP/s", "backward ms", "GFLOP/s");
  std::vector<double> rest = step_times;
  bool first = true;
  const auto rate = [](double flop, double ms) {
    return flop > 0 && ms > 0 ? fmt::format("{:.0f}", flop / ms * 1e-6) : std::string();
  };
  for (const bench::LayerTimes& layer : times) {
    if (layer.forward.empty()) {
      fmt::print("{:<10} {:>10}\n", layer.name, "fused");
      continue;
    }
    const double forward = median(layer.forward), backward = median(layer.backward);
    // The first layer's input needs no gradient.
    const double backward_flop = layer.flop * (first ? 1 : 2);
    fmt::print(
        "{:<10} {:>10.3f} {:>10} {:>11.3f} {:>10}\n",
        layer.name,
        forward,
        rate(layer.flop, forward),
        backward,
        rate(backward_flop, backward));
    for (std::size_t i = 0; i < rest.size(); ++i) {
      rest[i] -= layer.forward[i];
      if (!layer.backward.empty()) rest[i] -= layer.backward[i];
    }
    first = false;
  }
  const double step = median(step_times);
  fmt::print("{:<10} {:>10.3f}   batch, update and the rest\n", "other", median(rest));
  fmt::print("{:<10} {:>10.3f} {:>10}\n", "step", step, rate(bench::step_flop, step));
}

void serve(const bench::Digits& digits, int threads) {
  const auto solver = bench::make_solver(example::lenet(bench::batch), digits, threads);
  fmt::print("ready sparknet, {}\n", solver->net().backend().description());
  std::fflush(stdout);
  std::string word;
  for (int steps = 0; std::cin >> word >> steps;) {
    std::vector<double> times;
    double loss = 0;
    for (int i = 0; i < steps; ++i) times.push_back(timed_step(*solver, loss));
    fmt::print("{:.6f}", loss / steps);
    for (const double time : times) fmt::print(" {:.4f}", time);
    fmt::print("\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0, layers = 0;
  std::string path;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (value && option == "--threads") {
      threads = std::atoi(value);
    } else if (value && option == "--layers") {
      layers = std::atoi(value);
    } else if (value && option == "--export") {
      path = value;
    } else {
      fmt::print(stderr, "{}", usage);
      return 2;
    }
  }
  try {
    const bench::Digits digits = bench::read_digits();
    if (!path.empty())
      export_digits(digits, path);
    else if (layers > 0)
      print_layers(digits, threads, layers);
    else
      serve(digits, threads);
  } catch (const std::exception& error) {
    fmt::print(stderr, "lenet_step: {}\n", error.what());
    return 1;
  }
}
