#include "sparknet/solver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "kernels/kernels.h"
#include "src/io/snapshot.h"
#include "src/net/plan.h"
#include "src/to_host.h"

namespace sparknet {
namespace {

NetOptions in_phase(NetOptions options, Phase phase) {
  options.phase = phase;
  return options;
}

void check(const SolverParam& param) {
  const auto refuse = [](const std::string& why) { throw Error("SolverParam: " + why); };
  if (!(param.base_lr >= 0) || !std::isfinite(param.base_lr))
    refuse(fmt::format(".base_lr is {}; a learning rate is a finite number not below 0", param.base_lr));
  if (param.iter_size < 1) refuse(fmt::format(".iter_size is {}; it counts passes and is at least 1", param.iter_size));
  if (param.average_loss < 1)
    refuse(fmt::format(".average_loss is {}; it counts losses and is at least 1", param.average_loss));
  if (param.max_iter < 0) refuse(fmt::format(".max_iter is {}", param.max_iter));
  if (param.test_interval > 0 && param.test_iter < 1)
    refuse(fmt::format(
        ".test_interval is {} and .test_iter is {}: say how many batches a test has",
        param.test_interval,
        param.test_iter));
  if (param.rule && param.momentum != 0)
    refuse(".rule and .momentum are both given; the momentum belongs to the rule, as in sgd(0.9)");
  learning_rate(param.lr_policy, param.base_lr, 0, param.max_iter);
}

}  // namespace

struct Solver::State {
  State(SolverParam solver_param, NetParam net_param, NetOptions net_options)
      : param((check(solver_param), std::move(solver_param))),
        rule(param.rule ? param.rule : sgd(param.momentum)),
        net(std::move(net_param), in_phase(std::move(net_options), Phase::Train)) {
    for (int slot = 0; slot < rule->slots(); ++slot) {
      const std::shared_ptr<void> memory = net.plan_->allocate(net.param_arena().bytes(), "history");
      history.push_back(
          Tensor::share(memory, memory.get(), net.param_arena().shape(), net.options().dtype, net.options().device));
    }
    if (param.clip_gradients > 0) squares = net.plan_->allocate(sizeof(double), "gradient's length");
    cut_into_pieces();
    losses.reserve(static_cast<std::size_t>(param.average_loss));
  }

  /// A run of neighbouring parameters that learn alike, updated in one call.
  struct Piece {
    Tensor weights, gradient;
    std::vector<Tensor> slots;
    double lr_mult, decay_mult;
  };

  void cut_into_pieces() {
    const std::vector<ParamInfo>& params = net.params();
    const Dim arena = net.param_arena().count();
    for (std::size_t i = 0; i < params.size();) {
      std::size_t j = i + 1;
      while (j < params.size() && params[j].lr_mult == params[i].lr_mult &&
             params[j].decay_mult == params[i].decay_mult)
        ++j;
      const Dim begin = params[i].offset, end = j < params.size() ? params[j].offset : arena;
      const auto part = [&](const Tensor& of) { return of.subarray(Shape(begin), Shape(end)); };
      if (params[i].lr_mult != 0) {
        Piece piece{part(net.param_arena()), part(net.gradient_arena()), {}, params[i].lr_mult, params[i].decay_mult};
        for (const Tensor& slot : history) piece.slots.push_back(part(slot));
        pieces.push_back(std::move(piece));
      }
      i = j;
    }
  }

  /// The factor that shortens the gradient to clip_gradients, Caffe's ClipGradients; 1 where it is short enough. Where
  /// the net runs; null: 1.
  const double* clip_factor() {
    if (param.clip_gradients <= 0) return nullptr;
    kernels::Backend& backend = net.backend();
    auto* const factor = static_cast<double*>(squares.get());
    backend.map(DType::F64, {.kind = kernels::MapKind::Constant}, 1, factor, factor);
    for (const Piece& piece : pieces)
      backend.add_squares(piece.gradient.dtype(), piece.gradient.count(), piece.gradient.raw(), factor);
    // Caffe clips the sum over iter_size passes before it divides by iter_size.
    backend.clip_factor(param.clip_gradients, factor);
    return factor;
  }

  double rate() const { return learning_rate(param.lr_policy, param.base_lr, iteration, param.max_iter); }

  /// Runs `count` steps and returns the smoothed loss of the last one.
  double step(std::int64_t count) {
    run(count, true);
    return smoothed;
  }

  /// Asks for `count` steps and, where it is said, waits for them. On a GPU work goes on while the next step is asked
  /// for.
  void run(std::int64_t count, bool wait) {
    try {
      for (std::int64_t i = 0; i < count; ++i) ask_for_step();
      if (wait) take_losses(0);
    } catch (...) {
      net.backend().abandon_step();
      forget_step();
      throw;
    }
  }

  /// After a step that was not asked for as a whole. What an earlier step is refused for, if it is, is thrown instead.
  void forget_step() {
    const auto forget = [&] { losses_in = 0, passes_in = 0, seen = iteration; };
    try {
      take_losses(0);
    } catch (...) {
      forget();
      throw;
    }
    forget();
  }

  void ask_for_step() {
    Net::Plan& plan = *net.plan_;
    const bool repeats = param.iter_size == 1 && !plan.observer && !hook;
    net.clear_gradients();
    for (int pass = 0; pass < param.iter_size; ++pass) {
      take_losses(Net::Plan::kReportsAhead - 1);
      plan.take_inputs();
      if (repeats) net.backend().begin_step();
      plan.run_forward();
      if (hook) {
        // Nobody is to sum the gradients of a pass that is refused.
        plan.start_report();
        take_losses(0);
      }
      const bool completes = hook && pass == param.iter_size - 1;
      if (completes) hook->begin();
      plan.run_backward(completes ? tell_hook : nullptr);
      if (!repeats && !hook) plan.start_report();
      if (net.backend().on_host()) take_losses(0);
    }
    if (hook) hook->finish();
    update();
    if (repeats) {
      net.backend().end_step();
      plan.start_report();
    }
    ++iteration;
  }

  void set_hook(GradientHook* wanted) {
    run(0, true);
    hook = wanted;
    tell_hook = nullptr;
    if (!hook) return;
    // By the last layer that adds to it. What no layer adds to is complete from the beginning.
    const std::vector<Net::Plan::Node>& nodes = net.plan_->nodes;
    std::vector<std::vector<std::size_t>> completed(nodes.size());
    for (std::size_t p = 0; p < net.params().size(); ++p) {
      if (net.params()[p].lr_mult == 0) continue;
      const auto last = std::ranges::find_if(nodes, [&](const Net::Plan::Node& node) {
        return node.layer && !node.fused() && node.runs_backward && std::ranges::count(node.params, p) > 0;
      });
      completed[last == nodes.end() ? nodes.size() - 1 : static_cast<std::size_t>(last - nodes.begin())].push_back(p);
    }
    tell_hook = [this, completed = std::move(completed)](std::size_t node) {
      for (const std::size_t p : completed[node]) hook->ready(p);
    };
  }

  void update() {
    const double base = rate();
    const double* factor = clip_factor();
    double scale = 1.0 / param.iter_size;
    if (factor && net.backend().on_host()) scale = *std::exchange(factor, nullptr) / param.iter_size;
    for (const Piece& piece : pieces)
      rule->update(
          {.backend = net.backend(),
           .weights = piece.weights,
           .gradient = piece.gradient,
           .slots = piece.slots,
           .rate = base * piece.lr_mult,
           .decay = param.weight_decay * piece.decay_mult,
           .gradient_scale = scale,
           .l1 = param.regularization == Regularization::L1,
           .iteration = iteration,
           .gradient_factor = factor,
           .veto = net.backend().on_host() ? nullptr : net.plan_->veto()});
    net.backend().end_updates();
  }

  /// Waits for forward passes until no more than `most` are on their way.
  void take_losses(int most) {
    while (net.plan_->unread_reports > most) {
      try {
        losses_in += net.plan_->finish_forward();
      } catch (...) {
        iteration = seen;  // steps behind the refused one have done nothing
        throw;
      }
      if (++passes_in < param.iter_size) continue;
      smoothed = smooth(losses_in / param.iter_size);
      losses_in = 0, passes_in = 0;
      ++seen;
    }
  }

  double smooth(double loss) {
    if (losses.size() == static_cast<std::size_t>(param.average_loss)) losses.erase(losses.begin());
    losses.push_back(loss);
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
  }

  SolverParam param;
  std::shared_ptr<const UpdateRule> rule;
  Net net;
  std::optional<Net> test_net;
  SourcePtr test_source;
  FeedOptions test_feed;
  std::vector<Tensor> history;
  std::vector<Piece> pieces;
  SolverCallbacks callbacks;
  std::int64_t iteration = 0;
  std::vector<double> losses;
  double smoothed = 0;
  /// The iterations whose losses have come in.
  std::int64_t seen = 0;
  // Of the step whose passes are coming in.
  double losses_in = 0;
  int passes_in = 0;
  std::shared_ptr<void> squares;
  GradientHook* hook = nullptr;
  std::function<void(std::size_t node)> tell_hook;
};

Solver::Solver(SolverParam param, NetParam net, NetOptions options)
    : state_(std::make_unique<State>(std::move(param), std::move(net), std::move(options))) {}
Solver::~Solver() = default;
Solver::Solver(Solver&&) noexcept = default;
Solver& Solver::operator=(Solver&&) noexcept = default;

const SolverParam& Solver::param() const {
  return state_->param;
}
const UpdateRule& Solver::rule() const {
  return *state_->rule;
}
Net& Solver::net() {
  return state_->net;
}
std::int64_t Solver::iteration() const {
  return state_->iteration;
}
double Solver::rate() const {
  return state_->rate();
}
Tensor Solver::history(int slot) const {
  return state_->history.at(static_cast<std::size_t>(slot));
}
void Solver::set_callbacks(SolverCallbacks callbacks) {
  state_->callbacks = std::move(callbacks);
}
void Solver::set_gradient_hook(GradientHook* hook) {
  state_->set_hook(hook);
}

void Solver::set_training_data(SourcePtr source, FeedOptions options) {
  state_->net.set_data(std::move(source), std::move(options));
}

void Solver::set_test_data(SourcePtr source, FeedOptions options) {
  options.random = false;
  options.shuffle = false;
  state_->test_source = std::move(source);
  state_->test_feed = std::move(options);
  if (state_->test_net) state_->test_net->set_data(state_->test_source, state_->test_feed);
}

Net& Solver::test_net() {
  State& s = *state_;
  if (!s.test_net) {
    s.test_net.emplace(s.net.param(), in_phase(s.net.options(), Phase::Test), s.net);
    if (s.test_source) s.test_net->set_data(s.test_source, s.test_feed);
  }
  return *s.test_net;
}

void Solver::set_iteration(std::int64_t iteration) {
  if (iteration < 0) throw Error(fmt::format("there is no iteration {}", iteration));
  state_->run(0, true);
  state_->iteration = state_->seen = iteration;
}

std::int64_t Solver::examples_per_step() const {
  return state_->net.batch_size() * state_->param.iter_size;
}

void Solver::reset_history() {
  const kernels::Map zero{.kind = kernels::MapKind::Constant};
  for (Tensor& slot : state_->history)
    state_->net.backend().map(slot.dtype(), zero, slot.count(), slot.raw(), slot.raw());
}

double Solver::step(std::int64_t count) {
  return state_->step(count);
}

std::vector<TestResult> Solver::test() {
  const SolverParam& param = state_->param;
  if (param.test_iter < 1) throw Error("SolverParam: .test_iter is 0: say how many batches a test has");
  state_->run(0, true);
  state_->net.backend().wait();  // the nets share parameters and no queue
  Net& net = test_net();
  if (!net.is_fed()) throw Error("a test needs data: call Solver::set_test_data first");
  net.rewind();
  std::vector<TestResult> results;
  for (int i = 0; i < param.test_iter; ++i) {
    net.forward();
    std::size_t at = 0;
    for (const std::string& output : net.outputs()) {
      const Tensor blob = net.blob(output).cast(DType::F64).flatten();
      for (Dim j = 0; j < blob.count(); ++j, ++at) {
        if (i == 0) results.push_back({blob.count() == 1 ? output : fmt::format("{}[{}]", output, j), 0});
        results[at].value += blob.get<double>(j) / param.test_iter;
      }
    }
  }
  return results;
}

void Solver::solve() {
  State& s = *state_;
  const auto test_now = [&] {
    if (s.callbacks.testing) s.callbacks.testing(s.iteration);
    const std::vector<TestResult> results = test();
    if (s.callbacks.tested) s.callbacks.tested(s.iteration, results);
  };
  const auto snapshot_now = [&] {
    const std::filesystem::path file = fmt::format("{}_iter_{}.snap", s.param.snapshot_prefix, s.iteration);
    snapshot(file);
    if (s.callbacks.snapshotted) s.callbacks.snapshotted(file);
  };
  const bool tests = s.param.test_interval > 0, snapshots = !s.param.snapshot_prefix.empty();
  const std::int64_t first = s.iteration;
  bool stopped = false;
  while (s.iteration < s.param.max_iter && !stopped) {
    if (tests && s.iteration % s.param.test_interval == 0 && (s.iteration > 0 || s.param.test_initialization))
      test_now();
    const double rate = s.rate();
    const std::int64_t next = s.iteration + 1;
    const bool shows =
        s.callbacks.progress && s.param.display > 0 && (next % s.param.display == 0 || next == s.param.max_iter);
    s.run(1, shows || next == s.param.max_iter);
    if (shows) s.callbacks.progress({s.iteration, s.param.max_iter, s.smoothed, rate});
    if (snapshots && s.param.snapshot > 0 && s.iteration % s.param.snapshot == 0 && s.iteration < s.param.max_iter)
      snapshot_now();
    stopped = s.iteration < s.param.max_iter && s.callbacks.stop && s.callbacks.stop();
  }
  if (snapshots && s.iteration > first) snapshot_now();
  if (tests && !stopped) test_now();
}

void Solver::snapshot(const std::filesystem::path& file) const {
  State& s = *state_;
  s.run(0, true);
  detail::Snapshot snapshot;
  snapshot.rule = s.rule->name();
  snapshot.iteration = s.iteration;
  snapshot.seed = s.net.options().seed;
  snapshot.passes = s.net.passes();
  snapshot.cursor = s.net.feed() ? s.net.feed()->cursor() : -1;
  snapshot.losses = s.losses;
  snapshot.weights = s.net.weights();
  for (const Tensor& slot : s.history) {
    snapshot.history.push_back(snapshot.weights);
    snapshot.history.back().arena().copy_from(to_host(s.net.backend(), slot));
  }
  detail::write_snapshot(file, snapshot);
}

void Solver::restore(const std::filesystem::path& file) {
  State& s = *state_;
  detail::Snapshot snapshot = detail::read_snapshot(file);
  const auto refuse = [&](const std::string& why) { throw DataError(file.string(), -1, why); };
  if (snapshot.rule != s.rule->name())
    refuse(fmt::format(
        "was written by the update rule \"{}\", and this solver's is \"{}\"",
        snapshot.rule,
        s.rule->name()));
  if (snapshot.history.size() != s.history.size())
    refuse(
        fmt::format("has {} slots of history, and the update rule has {}", snapshot.history.size(), s.history.size()));
  if (snapshot.weights.dtype() != s.net.options().dtype)
    refuse(fmt::format(
        "is of a net in {}, and this one is in {}",
        to_string(snapshot.weights.dtype()),
        to_string(s.net.options().dtype)));
  if (snapshot.seed != s.net.options().seed)
    refuse(fmt::format("is of a run with seed {}, and this one has seed {}", snapshot.seed, s.net.options().seed));
  try {
    s.net.set_weights(snapshot.weights);
  } catch (const ShapeError& why) {
    refuse(why.what());
  }
  for (std::size_t slot = 0; slot < s.history.size(); ++slot) {
    WeightCollection values = s.net.weights();
    for (std::size_t i = 0; i < values.layout().size(); ++i)
      values.tensor(i).copy_from(snapshot.history[slot].tensor(i));
    s.net.plan_->copy_in(values.arena(), s.history[slot]);
  }
  s.net.set_passes(snapshot.passes);
  if (s.net.feed() && snapshot.cursor >= 0) s.net.feed()->seek(snapshot.cursor);
  s.iteration = s.seen = snapshot.iteration;
  s.losses = snapshot.losses;
  if (s.losses.size() > static_cast<std::size_t>(s.param.average_loss))
    s.losses.erase(s.losses.begin(), s.losses.end() - s.param.average_loss);
}

}  // namespace sparknet
