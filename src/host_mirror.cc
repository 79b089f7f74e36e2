#include "src/host_mirror.h"

#include "kernels/kernels.h"

namespace sparknet::detail {

HostMirror::HostMirror(Solver& solver) : solver_(solver), copies_(!solver.net().backend().on_host()) {
  const auto mirrored = [&](const Tensor& tensor) { return copies_ ? Tensor(tensor.shape(), tensor.dtype()) : tensor; };
  weights_ = mirrored(solver.net().param_arena());
  for (int slot = 0; slot < solver.rule().slots(); ++slot) history_.push_back(mirrored(solver.history(slot)));
  fetch_weights();
  fetch_history();
}

void HostMirror::fetch_weights() {
  if (copies_) solver_.net().backend().read(weights_.raw(), solver_.net().param_arena().raw(), weights_.bytes());
}

void HostMirror::store_weights() {
  if (copies_) solver_.net().backend().write(solver_.net().param_arena().raw(), weights_.raw(), weights_.bytes());
}

void HostMirror::fetch_history() {
  for (std::size_t slot = 0; copies_ && slot < history_.size(); ++slot)
    solver_.net().backend().read(
        history_[slot].raw(),
        solver_.history(static_cast<int>(slot)).raw(),
        history_[slot].bytes());
}

void HostMirror::store_history() {
  for (std::size_t slot = 0; copies_ && slot < history_.size(); ++slot)
    solver_.net().backend().write(
        solver_.history(static_cast<int>(slot)).raw(),
        history_[slot].raw(),
        history_[slot].bytes());
}

}  // namespace sparknet::detail
