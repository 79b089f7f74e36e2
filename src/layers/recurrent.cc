#include "src/layers/recurrent.h"

#include "src/layers/common.h"

namespace sparknet {

std::vector<Shape> infer_recurrent(
    const RecurrentOptions& options, std::span<const Shape> in, std::span<const std::string_view> states) {
  require_num_output(options.num_output);
  const std::size_t exposed = options.expose_hidden ? states.size() : 0;
  std::string wanted = "x, cont and, if wanted, a static input";
  if (options.expose_hidden)
    for (const std::string_view state : states) wanted += fmt::format(", {}_0", state);
  require(
      in.size() == 2 + exposed || in.size() == 3 + exposed,
      "takes {}, which are {} or {} inputs, not {}",
      wanted,
      2 + exposed,
      3 + exposed,
      in.size());
  const Shape &x = in[0], &cont = in[1];
  require(x.size() >= 2, "expects x [T, N, ...], which has 2 or more dimensions, not {}", x.size());
  const Dim steps = x[0], batch = x[1];
  require(
      cont == Shape(steps, batch),
      "expects cont [T, N], here [{}, {}], because x is {}; it is {}",
      steps,
      batch,
      to_string(x),
      to_string(cont));
  const std::size_t first_state = in.size() - exposed;
  if (first_state == 3)
    require(
        !in[2].empty() && in[2][0] == batch,
        "expects a static input [N, ...] of {} sequences, because x is {}; it is {}",
        batch,
        to_string(x),
        to_string(in[2]));
  const Shape state{1, batch, options.num_output};
  for (std::size_t i = 0; i < exposed; ++i)
    require(
        in[first_state + i] == state,
        "expects {}_0 [1, N, num_output], here {}; it is {}",
        states[i],
        to_string(state),
        to_string(in[first_state + i]));
  std::vector<Shape> tops{Shape{steps, batch, options.num_output}};
  tops.insert(tops.end(), exposed, state);
  return tops;
}

void RunningRecurrent::read_shapes(const LayerSetup& setup, Dim gates, std::size_t states) {
  const std::span<const Shape> in = setup.bottom();
  const std::size_t exposed = options_.expose_hidden ? states : 0;
  steps_ = in[0][0], batch_ = in[0][1], inputs_ = in[0].count(2);
  statics_ = in.size() == 3 + exposed ? in[2].count(1) : 0;
  outputs_ = options_.num_output, gates_ = gates;
  element_ = size_of(setup.dtype());
  if (!options_.expose_hidden)
    for (std::size_t i = 0; i < states; ++i) kept_.push_back(own_memory(setup.backend(), bytes(state_step())));
}

void RunningRecurrent::weights(LayerSetup& setup, const char* name, Dim outputs, Dim inputs) const {
  setup.param(name, {outputs, inputs}, options_.weight_filler, options_.lr_mult.weights, options_.decay_mult.weights);
}

void RunningRecurrent::bias(LayerSetup& setup, const char* name, Dim outputs) const {
  setup.param(name, {outputs}, options_.bias_filler, options_.lr_mult.bias, options_.decay_mult.bias);
}

std::unique_ptr<kernels::Linear> RunningRecurrent::plan(LayerSetup& setup, Dim rows, Dim inputs, Dim outputs) {
  auto made = setup.backend().inner_product(setup.dtype(), {rows, inputs, outputs}, {});
  plan_scratch_ = std::max(plan_scratch_, made->scratch_bytes());
  return made;
}

void RunningRecurrent::backward_of_products(
    LayerIO& io, std::byte* sums, const std::byte* gated_h, std::byte* static_sums) {
  kernels::BackwardArgs of_x{};
  of_x.x = io.bottom(0).raw();
  of_x.weights = io.param(0).raw();
  of_x.dy = sums;
  of_x.dx = io.bottom_diff(0).raw();
  of_x.dweights = io.param_diff(0).raw();
  of_x.dbias = io.param_diff(1).raw();
  of_x.accumulate = io.accumulate();
  of_x_->backward(of_x, io.scratch());
  if (io.needs_param_diff(w_hidden())) {
    kernels::BackwardArgs of_h{};
    of_h.x = gated_h;
    of_h.dy = sums;
    of_h.dweights = io.param_diff(w_hidden()).raw();
    of_h.accumulate = io.accumulate();
    of_all_steps_->backward(of_h, io.scratch());
  }
  if (has_static()) {
    kernels::BackwardArgs of_static{};
    of_static.x = io.bottom(2).raw();
    of_static.weights = io.param(2).raw();
    of_static.dy = static_sums;
    of_static.dx = io.bottom_diff(2).raw();
    of_static.dweights = io.param_diff(2).raw();
    of_static.accumulate = io.accumulate();
    of_static_->backward(of_static, io.scratch());
  }
}

}  // namespace sparknet
