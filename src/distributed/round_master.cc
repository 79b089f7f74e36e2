#include "sparknet/distributed/round_master.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "sparknet/error.h"
#include "src/distributed/center.h"
#include "src/distributed/group_snapshot.h"
#include "src/distributed/measures.h"
#include "src/host_mirror.h"
#include "src/io/bytes.h"

namespace sparknet {
namespace {

constexpr std::string_view magic = "SPKNTASK";
constexpr std::uint32_t version = 1;
constexpr std::uint32_t max_slots = 64;
constexpr std::size_t checksum_bytes = sizeof(std::uint32_t);

void write_tensor(detail::ByteWriter& out, const Tensor& values) {
  out.raw({values.raw(), values.bytes()});
}

WorkerState state_of(Net& net, int worker) {
  return {.worker = worker, .cursor = net.feed() ? net.feed()->cursor() : -1, .passes = net.passes()};
}

}  // namespace

std::vector<std::byte> encode(const RoundTask& task) {
  detail::ByteWriter head;
  head.raw(std::as_bytes(std::span(magic)));
  head.number(version);
  head.number(task.schema);
  head.number(task.round);
  head.number(task.iteration);
  head.number(task.policy.max_steps);
  head.number(task.policy.max_examples);
  head.number<std::int64_t>(task.policy.max_time.count());
  head.number(static_cast<std::uint8_t>(task.weighting));
  head.number(static_cast<std::uint8_t>(task.history));
  head.number(static_cast<std::uint8_t>(task.carries));
  head.number(static_cast<std::uint8_t>(task.drift));
  head.number<std::uint64_t>(task.states.size());
  for (const WorkerState& state : task.states) {
    head.number<std::int32_t>(state.worker);
    head.number(state.cursor);
    head.number(state.passes);
  }
  head.number(static_cast<std::uint8_t>(task.weights.dtype()));
  head.number<std::int64_t>(task.weights.count());
  head.number(static_cast<std::uint32_t>(task.slots.size()));

  // Growing to a net's bytes would hold them twice.
  detail::ByteWriter out;
  std::size_t bytes = head.bytes().size() + task.weights.bytes() + checksum_bytes;
  for (const Tensor& slot : task.slots) bytes += slot.bytes();
  out.reserve(bytes);
  out.raw(head.bytes());
  write_tensor(out, task.weights);
  for (const Tensor& slot : task.slots) write_tensor(out, slot);
  out.number(detail::crc32(out.bytes()));
  return out.take();
}

RoundTask decode_round_task(std::span<const std::byte> bytes, const std::string& source) {
  detail::ByteReader head(source, bytes);
  const auto begin = head.raw(magic.size(), "the header");
  if (std::memcmp(begin.data(), magic.data(), magic.size()) != 0)
    throw DataError(source, 0, "a round task begins with \"SPKNTASK\"; this does not");
  if (const auto found = head.number<std::uint32_t>("the version"); found != version)
    head.fail(fmt::format("is of version {} and this library reads {}", found, version));
  if (head.left() < checksum_bytes) head.fail("ends before its checksum");
  const std::span<const std::byte> checked = bytes.first(bytes.size() - checksum_bytes);
  std::uint32_t checksum;
  std::memcpy(&checksum, bytes.data() + checked.size(), sizeof checksum);
  if (checksum != detail::crc32(checked))
    throw DataError(source, static_cast<std::int64_t>(checked.size()), "the checksum is wrong: the task was damaged");

  detail::ByteReader in(source, checked, magic.size() + sizeof version);
  const auto choice = [&](const char* what, std::uint8_t last) {
    const auto value = in.number<std::uint8_t>(what);
    if (value > last) in.fail(fmt::format("{} is {}, and there are only {}", what, value, last + 1));
    return value;
  };
  RoundTask task;
  task.schema = in.number<std::uint64_t>("the schema");
  task.round = in.number<std::int64_t>("the round");
  task.iteration = in.number<std::int64_t>("the iteration");
  if (task.round < 0 || task.iteration < 0)
    in.fail(fmt::format("is of round {} at iteration {}", task.round, task.iteration));
  task.policy.max_steps = in.number<std::int64_t>("the policy");
  task.policy.max_examples = in.number<std::int64_t>("the policy");
  task.policy.max_time = std::chrono::nanoseconds(in.number<std::int64_t>("the policy"));
  task.weighting = static_cast<Weighting>(choice("the weighting", 2));
  task.history = static_cast<SolverHistory>(choice("the history", 2));
  task.carries = static_cast<Carries>(choice("the kind of sums", 1));
  task.drift = choice("the wish for drift", 1) != 0;
  for (auto n = in.number<std::uint64_t>("the workers"); n > 0; --n) {
    WorkerState state;
    state.worker = in.number<std::int32_t>("a worker");
    state.cursor = in.number<std::int64_t>("a worker");
    state.passes = in.number<std::uint64_t>("a worker");
    if (state.worker < 0 || state.cursor < -1)
      in.fail(fmt::format("it has worker {} at example {}", state.worker, state.cursor));
    if (!task.states.empty() && task.states.back().worker >= state.worker)
      in.fail(fmt::format("it has worker {} after worker {}", state.worker, task.states.back().worker));
    task.states.push_back(state);
  }
  const auto dtype = static_cast<DType>(choice("the element type", 1));
  const auto count = in.number<std::int64_t>("the weights");
  const auto slots = in.number<std::uint32_t>("the slots");
  std::uint64_t wanted = 0;
  if (count < 0 || slots > max_slots ||
      __builtin_mul_overflow(static_cast<std::uint64_t>(count), size_of(dtype) * (1 + std::uint64_t{slots}), &wanted) ||
      wanted != in.left())
    in.fail("the tensors take up another number of bytes than is left");
  const auto read = [&] {
    Tensor values{Shape(count), dtype};
    std::memcpy(values.raw(), in.raw(values.bytes(), "a tensor").data(), values.bytes());
    return values;
  };
  task.weights = read();
  for (std::uint32_t slot = 0; slot < slots; ++slot) task.slots.push_back(read());
  return task;
}

Contribution run_round_task(Solver& solver, const RoundTask& task, int worker) {
  Net& net = solver.net();
  detail::HostMirror mirror(solver);
  Tensor weights = mirror.weights();
  const std::uint64_t schema = schema_of(net.params(), weights.dtype());
  if (schema != task.schema)
    throw Error(fmt::format(
        "the task is of another net than worker {} has: their parameters differ (schema {:016x} and {:016x})",
        worker,
        task.schema,
        schema));
  if (!task.slots.empty() && task.slots.size() != static_cast<std::size_t>(solver.rule().slots()))
    throw Error(fmt::format(
        "the task has {} slots of history, and worker {}'s update rule \"{}\" has {}",
        task.slots.size(),
        worker,
        solver.rule().name(),
        solver.rule().slots()));
  weights.copy_from(task.weights);
  mirror.store_weights();
  solver.set_iteration(task.iteration);
  const auto found = std::find_if(task.states.begin(), task.states.end(), [&](const WorkerState& state) {
    return state.worker == worker;
  });
  const WorkerState start = found != task.states.end() ? *found : WorkerState{.worker = worker};
  net.set_passes(start.passes);
  // Where it stands there already it goes on with the batches that are prepared.
  if (net.feed() && start.cursor >= 0 && net.feed()->cursor() != start.cursor) net.feed()->seek(start.cursor);
  if (task.history == SolverHistory::Reset) solver.reset_history();
  for (std::size_t slot = 0; slot < task.slots.size(); ++slot) {
    Tensor history = mirror.history()[slot];
    history.copy_from(task.slots[slot]);
  }
  if (!task.slots.empty()) mirror.store_history();

  const RoundReport report = run_round(solver, task.policy);
  mirror.fetch_weights();
  Contribution made{.schema = schema, .round = task.round, .carries = task.carries};
  made.steps = made.most_steps = report.steps;
  made.examples = report.examples;
  made.seconds = made.most_seconds = std::chrono::duration<double>(report.time).count();
  made.states = {state_of(net, worker)};
  if (!detail::is_finite(weights) || !std::isfinite(report.loss_sum)) {
    made.rejected = 1;
    if (task.history == SolverHistory::Keep) solver.reset_history();
    return made;
  }
  made.workers = 1;
  made.weight = made.unit = detail::weight_of(task.weighting, report);
  made.loss_sum = report.loss_sum;
  made.loss_steps = report.steps;
  if (task.drift) made.squares = made.weight * detail::squared_distance(weights, task.weights);
  made.sums.push_back(task.carries == Carries::Weights ? weights.copy() : task.weights - weights);
  if (task.history == SolverHistory::Average) {
    mirror.fetch_history();
    for (const Tensor& history : mirror.history()) made.sums.push_back(history.copy());
  }
  return made;
}

struct RoundMaster::State {
  State(SolverParam solver_param, WeightCollection first, int count, AveragingOptions averaging, Carries kind)
      : param(std::move(solver_param)),
        rule(param.rule ? param.rule : sgd(param.momentum)),
        weights(std::move(first)),
        workers(count),
        options(std::move(averaging)),
        carries(kind),
        schema(schema_of(weights.layout(), weights.dtype())),
        center(options, weights.layout(), weights.arena()) {
    if (workers < 1) throw Error(fmt::format("a master of {} workers has nothing to do", workers));
    if (center.outer().pull(workers) < 1)
      throw Error(fmt::format(
          "outer optimizer \"{}\" leaves workers weights of their own, and a master's workers keep nothing; "
          "AveragingSolver's do",
          center.outer().name()));
    if (options.gradients)
      throw Error("AveragingOptions: a master's workers have no .gradients in common; AveragingSolver's can");
    if (options.history == SolverHistory::Average)
      for (int slot = 0; slot < rule->slots(); ++slot) slots.emplace_back(weights.arena().shape(), weights.dtype());
  }

  double rate() const { return learning_rate(param.lr_policy, param.base_lr, iteration, param.max_iter); }

  RoundPolicy policy() const {
    RoundPolicy policy = center.next(iteration);
    const std::int64_t left = param.max_iter - iteration;
    if (left > 0 && (policy.max_steps <= 0 || policy.max_steps > left)) policy.max_steps = left;
    return policy;
  }

  detail::GroupSnapshot describe() const {
    if (options.history == SolverHistory::Keep)
      throw Error("the workers keep their history, so a master cannot save it; choose SolverHistory::Reset or Average");
    detail::GroupSnapshot snapshot{
        .rule = std::string(rule->name()),
        .outer = std::string(center.outer().name()),
        .schedule = std::string(center.schedule().name()),
        .dtype = weights.dtype(),
        .history = options.history,
        .slots = static_cast<std::uint32_t>(rule->slots()),
        .iteration = iteration,
        .numbers = center.numbers(),
        .layout = weights.layout(),
        .arena = weights.arena().count()};
    for (const Tensor& tensor : center.tensors()) snapshot.outer_tensors.emplace_back(tensor.dtype(), tensor.count());
    snapshot.workers.resize(static_cast<std::size_t>(workers));
    for (const WorkerState& state : states)
      if (state.worker >= 0 && state.worker < workers)
        snapshot.workers[static_cast<std::size_t>(state.worker)] = {
            .present = true,
            .seed = 0,
            .passes = state.passes,
            .cursor = state.cursor};
    return snapshot;
  }

  std::vector<Tensor> tensors() const {
    std::vector<Tensor> all = {weights.arena()};
    for (const Tensor& tensor : center.tensors()) all.push_back(tensor);
    for (const Tensor& slot : slots) all.push_back(slot);
    return all;
  }

  SolverParam param;
  std::shared_ptr<const UpdateRule> rule;
  WeightCollection weights;
  int workers;
  AveragingOptions options;
  Carries carries;
  std::uint64_t schema;
  detail::Center center;
  std::vector<Tensor> slots;
  /// In the order of the workers' numbers.
  std::vector<WorkerState> states;
  std::int64_t iteration = 0;
};

RoundMaster::RoundMaster(
    SolverParam param, WeightCollection weights, int workers, AveragingOptions options, Carries carries)
    : state_(std::make_unique<State>(std::move(param), std::move(weights), workers, std::move(options), carries)) {}
RoundMaster::~RoundMaster() = default;
RoundMaster::RoundMaster(RoundMaster&&) noexcept = default;
RoundMaster& RoundMaster::operator=(RoundMaster&&) noexcept = default;

const WeightCollection& RoundMaster::weights() const {
  return state_->weights;
}
std::int64_t RoundMaster::round() const {
  return state_->center.round();
}
std::int64_t RoundMaster::iteration() const {
  return state_->iteration;
}
bool RoundMaster::done() const {
  return state_->iteration >= state_->param.max_iter;
}

RoundTask RoundMaster::task() const {
  const State& s = *state_;
  return {
      .schema = s.schema,
      .round = s.center.round(),
      .iteration = s.iteration,
      .policy = s.policy(),
      .weighting = s.options.weighting,
      .history = s.options.history,
      .carries = s.carries,
      .drift = s.center.needs_drift(),
      .weights = s.weights.arena(),
      .slots = s.slots,
      .states = s.states};
}

RoundStats RoundMaster::apply(std::vector<Contribution> parts) {
  State& s = *state_;
  for (const Contribution& part : parts) {
    if (part.round != s.center.round())
      throw Error(fmt::format("a contribution of round {} came in round {}", part.round, s.center.round()));
    if (part.schema != s.schema) throw Error("a contribution is of another net: its parameters differ");
    if (part.slices != 1)
      throw Error(fmt::format("slice {} of {} of a contribution came; join them first", part.slice, part.slices));
  }
  const std::size_t came = parts.size();
  const Contribution all = merge(std::move(parts));
  parts.clear();
  const auto mean_of = [&](std::size_t index) {
    Tensor sum = all.sums[index].flatten();
    if (all.weight != all.unit) sum.divide(all.weight / all.unit);
    return sum;
  };
  const int quorum = s.options.quorum > 0 ? s.options.quorum : s.workers;
  if (all.workers < std::max(quorum, 1))
    throw Error(fmt::format(
        "{} of {} workers count ({} contributions came, {} workers had weights that are not finite), and {} must",
        all.workers,
        s.workers,
        came,
        all.rejected,
        std::max(quorum, 1)));
  const Tensor& arena = s.weights.arena();
  if (all.sums.size() != 1 + s.slots.size() || std::ranges::any_of(all.sums, [&](const Tensor& sum) {
        return sum.dtype() != arena.dtype() || sum.count() != arena.count();
      }))
    throw Error("a contribution is of another net: its sums are not the parameters and the history that are averaged");
  if (all.most_steps > std::numeric_limits<std::int64_t>::max() - s.iteration ||
      !(all.most_seconds >= 0 && all.most_seconds < 1e9))
    throw Error(fmt::format("nobody makes {} steps in {} s", all.most_steps, all.most_seconds));
  RoundStats stats{
      .round = all.round,
      .first_iteration = s.iteration,
      .iteration = s.iteration + all.most_steps,
      .max_steps = s.policy().max_steps,
      .workers = all.workers,
      .rejected = all.rejected,
      .lost = std::max(0, s.workers - all.workers - all.rejected),
      .steps = all.steps,
      .examples = all.examples,
      .loss = all.loss_sum / static_cast<double>(all.loss_steps),
      .rate = s.rate()};
  if (s.center.needs_drift()) stats.drift = all.squares / all.weight;
  stats.train_time = std::chrono::nanoseconds(static_cast<std::int64_t>(all.most_seconds * 1e9));

  // Tasks that were handed out share the old arena, so the next weights lie where the sums did.
  Tensor next = mean_of(0);
  // start - mean to the bit, for a change of sign is exact.
  if (all.carries == Carries::Differences) next.multiply(-1).add(arena);
  s.center.advance(next, stats);
  s.weights.arena() = next;
  for (std::size_t slot = 0; slot < s.slots.size(); ++slot) s.slots[slot] = mean_of(1 + slot);
  s.iteration = stats.iteration;
  for (const WorkerState& state : all.states) {
    const auto place =
        std::lower_bound(s.states.begin(), s.states.end(), state.worker, [](const WorkerState& known, int worker) {
          return known.worker < worker;
        });
    if (place != s.states.end() && place->worker == state.worker)
      *place = state;
    else
      s.states.insert(place, state);
  }
  return stats;
}

void RoundMaster::snapshot(const std::filesystem::path& file) const {
  detail::GroupSnapshotWriter writer(file, state_->describe());
  for (const Tensor& tensor : state_->tensors()) writer.tensor(tensor);
  writer.commit();
}

void RoundMaster::restore(const std::filesystem::path& file) {
  State& s = *state_;
  detail::GroupSnapshotReader reader(file);
  const detail::GroupSnapshot snapshot = detail::GroupSnapshot::parse(file.string(), reader.header());
  snapshot.require_fits(file.string(), s.describe());
  s.center.set_numbers(snapshot.numbers);
  // Tasks that were handed out keep the old memory.
  s.weights.arena() = s.weights.arena().copy();
  for (Tensor& slot : s.slots) slot = slot.copy();
  for (Tensor tensor : s.tensors()) reader.tensor(tensor);
  s.center.set_start(s.weights.arena());
  s.iteration = snapshot.iteration;
  s.states.clear();
  for (int worker = 0; worker < s.workers; ++worker) {
    const auto saved = snapshot.resumed(worker, s.workers, s.param.iter_size);
    s.states.push_back({.worker = worker, .cursor = saved.cursor, .passes = saved.passes});
  }
}

}  // namespace sparknet
