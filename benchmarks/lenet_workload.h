#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sparknet/data/source.h"
#include "sparknet/net_param.h"
#include "sparknet/solver.h"

namespace bench {

constexpr sparknet::Dim batch = 64;
constexpr sparknet::Dim batches = 100;

/// Floating-point operations of LeNet's convolutions and inner products on a batch.
constexpr double forward_flop = 0.2935e9, step_flop = 0.844e9;

/// Columns "data" f32 [1, 28, 28], from 0 to 1, and "label" f32 [1], all in memory.
struct Digits {
  std::string text;
  sparknet::Tensor data, label;
  sparknet::SourcePtr source() const { return sparknet::from_tensors({{"data", data}, {"label", label}}); }
};

/// `batches` batches of MNIST in $SPARKNET_DATA_DIR/mnist, or of rendered digits where the variable is not set.
/// Real images matter: max pooling is slower on random pixels.
Digits read_digits();

/// LeNet's training as the benchmarks time it: the example's net and solver, batches made on the calling thread.
std::unique_ptr<sparknet::Solver> make_solver(sparknet::NetParam net, const Digits& digits, int threads);

/// Milliseconds of each pass through a layer.
struct LayerTimes {
  std::string name;
  double flop = 0;
  std::vector<double> forward = {}, backward = {};
};

/// The net with a stopwatch around each layer; `times` gets an element for each and must outlive the net that runs.
sparknet::NetParam with_stopwatches(const sparknet::NetParam& net, std::vector<LayerTimes>& times);

}  // namespace bench
