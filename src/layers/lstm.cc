#include "sparknet/layers/lstm.h"

#include "src/layers/common.h"
#include "src/layers/recurrent.h"

namespace sparknet {
namespace {

constexpr std::string_view states[] = {"h", "c"};

class RunningLSTM final : public RunningRecurrent {
 public:
  explicit RunningLSTM(const RecurrentOptions& options) : RunningRecurrent(options) {}

  void setup(LayerSetup& setup) override {
    read_shapes(setup, 4, 2);
    const Dim sums = 4 * outputs_, rows = steps_ * batch_;
    weights(setup, "W_xc", sums, inputs_);
    bias(setup, "b_c", sums);
    if (has_static()) weights(setup, "W_xc_static", sums, statics_);
    weights(setup, "W_hc", sums, outputs_);
    of_x_ = plan(setup, rows, inputs_, sums);
    of_step_ = plan(setup, batch_, outputs_, sums);
    if (has_static()) of_static_ = plan(setup, batch_, statics_, sums);
    if (setup.phase() == Phase::Train) of_all_steps_ = plan(setup, rows, outputs_, sums);

    MemoryLayout state(setup.dtype());
    gates_at_ = state.add(rows * sums);
    c_at_ = state.add((steps_ + 1) * state_step());
    tanh_c_at_ = state.add(steps_ * state_step());
    gated_h_at_ = state.add(steps_ * state_step());
    setup.state(state.size());
    MemoryLayout scratch(setup.dtype());
    scratch.add_bytes(plan_scratch_);
    step_sums_at_ = scratch.add(sums_step());
    static_sums_at_ = scratch.add(has_static() ? sums_step() : 0);
    dh_at_ = scratch.add(state_step());
    dc_at_ = scratch.add(state_step());
    setup.scratch(scratch.size());
    setup.backward_reads(true, false);
    setup.no_gradient(1);
  }

  void forward(LayerIO& io) override {
    kernels::Backend& backend = io.backend();
    std::byte *const scratch = io.scratch(), *const gates = io.state() + gates_at_;
    of_x_->forward(io.bottom(0).raw(), io.param(0).raw(), io.param(1).raw(), gates, scratch);
    if (has_static())
      of_static_->forward(io.bottom(2).raw(), io.param(2).raw(), nullptr, scratch + static_sums_at_, scratch);
    const std::byte* h = state_before(io, 0);
    copy(io, state_step(), state_before(io, 1), c(io, 0));
    for (Dim t = 0; t < steps_; ++t) {
      std::byte *const gated = gated_h(io, t), *const h_t = io.top(0).raw() + bytes(t * state_step());
      backend.gate_rows(io.dtype(), batch_, outputs_, cont(io, t), h, gated);
      of_step_->forward(gated, io.param(w_hidden()).raw(), nullptr, scratch + step_sums_at_, scratch);
      kernels::LstmForward args{};
      args.sums[0] = args.gates = gates + bytes(t * sums_step());
      args.sums[1] = scratch + step_sums_at_;
      args.sums[2] = has_static() ? scratch + static_sums_at_ : nullptr;
      args.cont = cont(io, t);
      args.c_prev = c(io, t);
      args.c = c(io, t + 1);
      args.tanh_c = tanh_c(io, t);
      args.h = h_t;
      backend.lstm(io.dtype(), {batch_, outputs_}, args);
      h = h_t;
    }
    set_state_after(io, 0, h);
    set_state_after(io, 1, c(io, steps_));
  }

  void backward(LayerIO& io) override {
    kernels::Backend& backend = io.backend();
    std::byte *const scratch = io.scratch(), *const gates = io.state() + gates_at_;
    std::byte *const dh = scratch + dh_at_, *const dc = scratch + dc_at_;
    const std::byte* dh_behind = nullptr;
    if (options_.expose_hidden) {
      dh_behind = io.top_diff(1).raw();
      copy(io, state_step(), io.top_diff(2).raw(), dc);
    } else {
      std::fill_n(dc, bytes(state_step()), std::byte{0});
    }
    for (Dim t = steps_; t-- > 0;) {
      // The gradient of the sums takes the place of the gates, which nobody needs any more.
      std::byte* const sums = gates + bytes(t * sums_step());
      kernels::LstmBackward args{};
      args.cont = cont(io, t);
      args.c_prev = c(io, t);
      args.gates = args.dsums = sums;
      args.tanh_c = tanh_c(io, t);
      args.dh[0] = io.top_diff(0).raw() + bytes(t * state_step());
      args.dh[1] = dh_behind;
      args.dc = args.dc_prev = dc;
      backend.lstm_backward(io.dtype(), {batch_, outputs_}, args);
      if (has_static()) add_to_static(io, t, sums, scratch + static_sums_at_);
      if (t == 0 && !state_before_diff(io, 0)) break;
      kernels::BackwardArgs step{};
      step.weights = io.param(w_hidden()).raw();
      step.dy = sums;
      step.dx = dh;
      of_step_->backward(step, scratch);
      backend.gate_rows(io.dtype(), batch_, outputs_, cont(io, t), dh, dh);
      dh_behind = dh;
    }
    if (std::byte* const to = state_before_diff(io, 0)) copy(io, state_step(), dh, to);
    if (std::byte* const to = state_before_diff(io, 1)) copy(io, state_step(), dc, to);

    backward_of_products(io, gates, gated_h(io, 0), scratch + static_sums_at_);
  }

 private:
  /// c before step t.
  std::byte* c(LayerIO& io, Dim t) const { return io.state() + c_at_ + bytes(t * state_step()); }
  std::byte* tanh_c(LayerIO& io, Dim t) const { return io.state() + tanh_c_at_ + bytes(t * state_step()); }
  /// cont_t h_{t-1}
  std::byte* gated_h(LayerIO& io, Dim t) const { return io.state() + gated_h_at_ + bytes(t * state_step()); }

  // In bytes, from the begin of the state and of the scratch memory.
  std::size_t gates_at_ = 0, c_at_ = 0, tanh_c_at_ = 0, gated_h_at_ = 0;
  std::size_t step_sums_at_ = 0, static_sums_at_ = 0, dh_at_ = 0, dc_at_ = 0;
};

}  // namespace

std::vector<std::string> LSTMLayer::tops() const {
  if (!options.expose_hidden) return {name};
  return {name, name + "_h", name + "_c"};
}

std::vector<Shape> LSTMLayer::infer(std::span<const Shape> in) const {
  return infer_recurrent(options, in, states);
}

std::unique_ptr<Layer> LSTMLayer::make() const {
  return std::make_unique<RunningLSTM>(options);
}

}  // namespace sparknet
