#pragma once

#include <vector>

#include "sparknet/solver.h"

namespace sparknet::detail {

/// The parameters of a solver's net and its history where the host can work on them: they themselves, or copies where
/// the net is elsewhere, which are fetched and stored.
class HostMirror {
 public:
  explicit HostMirror(Solver& solver);

  const Tensor& weights() const { return weights_; }
  const std::vector<Tensor>& history() const { return history_; }
  void fetch_weights();
  void store_weights();
  void fetch_history();
  void store_history();

 private:
  Solver& solver_;
  bool copies_;
  Tensor weights_;
  std::vector<Tensor> history_;
};

}  // namespace sparknet::detail
