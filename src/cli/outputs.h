#pragma once

#include <functional>
#include <vector>

#include "sparknet/net.h"
#include "sparknet/solver.h"

namespace sparknet::cli {

/// The means of a net's outputs over some batches, an entry for each element, and that of the loss.
struct Means {
  std::vector<TestResult> outputs;
  double loss = 0;
};
/// `after` is told how many batches were run, and the mean loss; where it returns false no more are.
Means run_batches(
    Net& net, std::int64_t batches, const std::function<bool(std::int64_t done, double loss)>& after = nullptr);

}  // namespace sparknet::cli
