#include "sparknet/layers/rnn.h"

#include "src/layers/common.h"
#include "src/layers/recurrent.h"

namespace sparknet {
namespace {

constexpr std::string_view states[] = {"h"};
constexpr kernels::Map tanh_map{kernels::MapKind::Tanh};

class RunningRNN final : public RunningRecurrent {
 public:
  explicit RunningRNN(const RecurrentOptions& options) : RunningRecurrent(options) {}

  void setup(LayerSetup& setup) override {
    read_shapes(setup, 1, 1);
    const Dim rows = steps_ * batch_;
    weights(setup, "W_xh", outputs_, inputs_);
    bias(setup, "b_h", outputs_);
    if (has_static()) weights(setup, "W_xh_static", outputs_, statics_);
    weights(setup, "W_hh", outputs_, outputs_);
    weights(setup, "W_ho", outputs_, outputs_);
    bias(setup, "b_o", outputs_);
    of_x_ = plan(setup, rows, inputs_, outputs_);
    of_step_ = plan(setup, batch_, outputs_, outputs_);
    if (has_static()) of_static_ = plan(setup, batch_, statics_, outputs_);
    of_all_steps_ = plan(setup, rows, outputs_, outputs_);

    MemoryLayout state(setup.dtype());
    h_at_ = state.add(steps_ * state_step());
    gated_h_at_ = state.add(steps_ * state_step());
    setup.state(state.size());
    MemoryLayout scratch(setup.dtype());
    scratch.add_bytes(plan_scratch_);
    step_sums_at_ = scratch.add(state_step());
    static_sums_at_ = scratch.add(has_static() ? state_step() : 0);
    dh_at_ = scratch.add(state_step());
    do_at_ = scratch.add(steps_ * state_step());
    dsums_at_ = scratch.add(steps_ * state_step());
    setup.scratch(scratch.size());
    setup.backward_reads(true, true);
    setup.no_gradient(1);
  }

  void forward(LayerIO& io) override {
    kernels::Backend& backend = io.backend();
    std::byte* const scratch = io.scratch();
    of_x_->forward(io.bottom(0).raw(), io.param(0).raw(), io.param(1).raw(), h(io, 0), scratch);
    if (has_static())
      of_static_->forward(io.bottom(2).raw(), io.param(2).raw(), nullptr, scratch + static_sums_at_, scratch);
    const std::byte* before = state_before(io, 0);
    for (Dim t = 0; t < steps_; ++t) {
      backend.gate_rows(io.dtype(), batch_, outputs_, cont(io, t), before, gated_h(io, t));
      of_step_->forward(gated_h(io, t), io.param(w_hidden()).raw(), nullptr, scratch + step_sums_at_, scratch);
      const void* const sums[] = {h(io, t), scratch + step_sums_at_, scratch + static_sums_at_};
      constexpr double ones[] = {1, 1, 1};
      backend
          .eltwise(io.dtype(), kernels::EltwiseOp::Sum, state_step(), has_static() ? 3 : 2, sums, ones, {}, h(io, t));
      backend.map(io.dtype(), tanh_map, state_step(), h(io, t), h(io, t));
      before = h(io, t);
    }
    set_state_after(io, 0, before);
    std::byte* const top = io.top(0).raw();
    of_all_steps_->forward(h(io, 0), io.param(w_ho()).raw(), io.param(w_ho() + 1).raw(), top, scratch);
    backend.map(io.dtype(), tanh_map, steps_ * state_step(), top, top);
  }

  void backward(LayerIO& io) override {
    kernels::Backend& backend = io.backend();
    std::byte *const scratch = io.scratch(), *const dh = scratch + dh_at_;
    std::byte *const d_o = scratch + do_at_, *const dsums = scratch + dsums_at_;
    backend.map_backward(io.dtype(), tanh_map, steps_ * state_step(), io.top(0).raw(), io.top_diff(0).raw(), d_o);
    kernels::BackwardArgs of_o{};
    of_o.x = h(io, 0);
    of_o.weights = io.param(w_ho()).raw();
    of_o.dy = d_o;
    of_o.dx = dsums;
    of_o.dweights = io.param_diff(w_ho()).raw();
    of_o.dbias = io.param_diff(w_ho() + 1).raw();
    of_o.accumulate = io.accumulate();
    of_all_steps_->backward(of_o, scratch);

    const std::byte* dh_behind = options_.expose_hidden ? io.top_diff(1).raw() : nullptr;
    for (Dim t = steps_; t-- > 0;) {
      // Of h first, and then of what tanh is taken of.
      std::byte* const at = dsums + bytes(t * state_step());
      if (dh_behind) backend.axpy(io.dtype(), state_step(), 1, dh_behind, at);
      backend.map_backward(io.dtype(), tanh_map, state_step(), h(io, t), at, at);
      if (has_static()) add_to_static(io, t, at, scratch + static_sums_at_);
      if (t == 0 && !state_before_diff(io, 0)) break;
      kernels::BackwardArgs step{};
      step.weights = io.param(w_hidden()).raw();
      step.dy = at;
      step.dx = dh;
      of_step_->backward(step, scratch);
      backend.gate_rows(io.dtype(), batch_, outputs_, cont(io, t), dh, dh);
      dh_behind = dh;
    }
    if (std::byte* const to = state_before_diff(io, 0)) copy(io, state_step(), dh, to);

    backward_of_products(io, dsums, gated_h(io, 0), scratch + static_sums_at_);
  }

 private:
  std::size_t w_ho() const { return w_hidden() + 1; }
  std::byte* h(LayerIO& io, Dim t) const { return io.state() + h_at_ + bytes(t * state_step()); }
  /// cont_t h_{t-1}
  std::byte* gated_h(LayerIO& io, Dim t) const { return io.state() + gated_h_at_ + bytes(t * state_step()); }

  // In bytes, from the begin of the state and of the scratch memory.
  std::size_t h_at_ = 0, gated_h_at_ = 0;
  std::size_t step_sums_at_ = 0, static_sums_at_ = 0, dh_at_ = 0, do_at_ = 0, dsums_at_ = 0;
};

}  // namespace

std::vector<std::string> RNNLayer::tops() const {
  if (!options.expose_hidden) return {name};
  return {name, name + "_h"};
}

std::vector<Shape> RNNLayer::infer(std::span<const Shape> in) const {
  return infer_recurrent(options, in, states);
}

std::unique_ptr<Layer> RNNLayer::make() const {
  return std::make_unique<RunningRNN>(options);
}

}  // namespace sparknet
