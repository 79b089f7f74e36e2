#include "sparknet/layers/lstm_unit.h"

#include "src/layers/common.h"
#include "src/layers/recurrent.h"

namespace sparknet {
namespace {

class RunningLSTMUnit final : public Layer {
 public:
  void setup(LayerSetup& setup) override {
    const Shape& c = setup.bottom()[0];
    shape_ = {c[1], c[2]};
    MemoryLayout state(setup.dtype()), scratch(setup.dtype());
    gates_at_ = state.add(4 * c.count());
    tanh_c_at_ = state.add(c.count());
    setup.state(state.size());
    dc_at_ = scratch.add(c.count());
    dsums_at_ = scratch.add(4 * c.count());
    setup.scratch(scratch.size());
    setup.backward_reads(true, false);
    setup.no_gradient(2);
  }

  void forward(LayerIO& io) override {
    kernels::LstmForward args{};
    args.sums[0] = io.bottom(1).raw();
    args.cont = io.bottom(2).raw();
    args.c_prev = io.bottom(0).raw();
    args.gates = io.state() + gates_at_;
    args.c = io.top(0).raw();
    args.tanh_c = io.state() + tanh_c_at_;
    args.h = io.top(1).raw();
    io.backend().lstm(io.dtype(), shape_, args);
  }

  void backward(LayerIO& io) override {
    kernels::LstmBackward args{};
    args.cont = io.bottom(2).raw();
    args.c_prev = io.bottom(0).raw();
    args.gates = io.state() + gates_at_;
    args.tanh_c = io.state() + tanh_c_at_;
    args.dh[0] = io.top_diff(1).raw();
    args.dc = io.top_diff(0).raw();
    args.dsums = io.needs_bottom_diff(1) ? io.bottom_diff(1).raw() : io.scratch() + dsums_at_;
    args.dc_prev = io.needs_bottom_diff(0) ? io.bottom_diff(0).raw() : io.scratch() + dc_at_;
    io.backend().lstm_backward(io.dtype(), shape_, args);
  }

 private:
  kernels::LstmShape shape_{};
  std::size_t gates_at_ = 0, tanh_c_at_ = 0, dc_at_ = 0, dsums_at_ = 0;
};

}  // namespace

std::vector<Shape> LSTMUnitLayer::infer(std::span<const Shape> in) const {
  const Shape& c = in[0];
  require(c.size() == 3 && c[0] == 1, "expects c_prev [1, N, D], not {}", to_string(c));
  require(
      in[1] == Shape(1, c[1], 4 * c[2]),
      "expects the sums for the gates [1, N, 4 D], here [1, {}, {}], because c_prev is {}; they are {}",
      c[1],
      4 * c[2],
      to_string(c),
      to_string(in[1]));
  require(
      in[2] == Shape(1, c[1]),
      "expects cont [1, N], here [1, {}], because c_prev is {}; it is {}",
      c[1],
      to_string(c),
      to_string(in[2]));
  return {c, c};
}

std::unique_ptr<Layer> LSTMUnitLayer::make() const {
  return std::make_unique<RunningLSTMUnit>();
}

}  // namespace sparknet
