#pragma once

#include <cstring>
#include <functional>
#include <vector>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "tests/nets.h"

namespace sparknet::testing {

inline NetParam small_net(Dim batch) {
  return NetParam(
      "small",
      RDDLayer{"data", {batch, 6}},
      RDDLayer{"label", {batch}},
      InnerProductLayer{"hidden", {"data"}, {.num_output = 7}},
      InnerProductLayer{"ip", {"hidden"}, {.num_output = 5}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
}

inline const SolverParam momentum{
    .base_lr = 0.05,
    .lr_policy = lr_policy::Inv{.gamma = 0.01, .power = 0.75},
    .momentum = 0.9,
    .weight_decay = 0.001,
    .max_iter = 40};

/// The examples that worker `rank` of `workers` sees where each batch of workers * batch is dealt out in pieces.
inline SourcePtr dealt(SourcePtr all, int rank, int workers, Dim batch) {
  return from_callback(all->columns(), all->size() / workers, [=](Dim index, std::span<std::byte* const> out) {
    const Dim in_all = index / batch * batch * workers + rank * batch + index % batch;
    for (std::size_t c = 0; c < out.size(); ++c)
      std::memcpy(out[c], all->example(in_all, c, out[c]), all->columns()[c].bytes());
  });
}

/// Trains on `workers` threads and returns the weights of each.
inline std::vector<WeightCollection> train(
    int workers, const SolverParam& param, const NetParam& net, const AveragingOptions& options,
    const std::function<SourcePtr(int rank)>& source, DType dtype = DType::F64,
    const std::function<void(int rank, const RoundStats&)>& after_round = nullptr) {
  std::vector<WeightCollection> weights(static_cast<std::size_t>(workers));
  run_on_threads(workers, [&](Communicator& group) {
    AveragingSolver solver(param, net, group, options, {.dtype = dtype, .threads = 1});
    solver.solver().set_training_data(source(group.rank()));
    solver.set_callbacks({.after_round = [&](const RoundStats& stats) {
      if (after_round) after_round(group.rank(), stats);
    }});
    solver.solve();
    weights[static_cast<std::size_t>(group.rank())] = solver.solver().net().weights();
  });
  return weights;
}

}  // namespace sparknet::testing
