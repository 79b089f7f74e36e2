#include "sparknet/distributed/averaging_solver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "kernels/kernels.h"
#include "sparknet/error.h"
#include "src/distributed/center.h"
#include "src/distributed/gradient_exchange.h"
#include "src/distributed/group_snapshot.h"
#include "src/distributed/measures.h"
#include "src/host_mirror.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

/// Workers draw different numbers; rank 0 draws those it would draw alone.
NetOptions for_rank(NetOptions options, const Communicator& group) {
  options.seed += static_cast<std::uint64_t>(group.rank()) << 32;
  if (options.parts == 1) options.part = group.rank(), options.parts = group.size();
  return options;
}

detail::HostMirror begin_together(Solver& solver, Communicator& group) {
  detail::HostMirror mirror(solver);
  Tensor weights = mirror.weights();
  group.broadcast(weights, 0);
  mirror.store_weights();
  return mirror;
}

void assign(Tensor to, const Tensor& from) {
  to.copy_from(from);
}

std::size_t at(int rank) {
  return static_cast<std::size_t>(rank);
}

/// detail::is_finite where only the backend reaches the values. In double no sum of squares of F32 overflows.
bool is_finite_on(kernels::Backend& backend, const Tensor& values) {
  const auto release = [&](void* memory) { backend.release(memory); };
  const std::unique_ptr<void, decltype(release)> sum(backend.allocate(sizeof(double)), release);
  double squares = 0;
  backend.add_squares(values.dtype(), values.count(), values.raw(), static_cast<double*>(sum.get()));
  backend.read(&squares, sum.get(), sizeof squares);
  return std::isfinite(squares);
}

/// x -= pull * (x - centre)
void draw(Tensor& weights, const Tensor& centre, double pull) {
  dispatch(weights.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto x = weights.span<T>();
    const auto c = centre.span<T>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double mine = static_cast<double>(x[i]);
      x[i] = static_cast<T>(mine - pull * (mine - static_cast<double>(c[i])));
    }
  });
}

}  // namespace

struct AveragingSolver::State {
  State(std::unique_ptr<Solver> made, Solver& used, Communicator& communicator, AveragingOptions averaging)
      : own(std::move(made)),
        solver(used),
        mirror(begin_together(used, communicator)),
        group(communicator),
        options(std::move(averaging)),
        center(options, solver.net().params(), mirror.weights()) {
    attendance.present.resize(static_cast<std::size_t>(group.size()));
    std::iota(attendance.present.begin(), attendance.present.end(), 0);
    if (pull() < 1) mine = mirror.weights().copy();
    if (pull() < 1 && !center.start().defined())
      throw Error(fmt::format("outer optimizer \"{}\" has a pull but needs no start", center.outer().name()));
    const Device device = solver.net().options().device;
    in_place = device != Device::cpu() && group.reaches(device) && !center.start().defined() && !options.gradients;
    if (!options.gradients) return;
    const auto refuse = [](const std::string& why) {
      throw Error("AveragingOptions: with .gradients in common " + why);
    };
    if (pull() < 1 || center.outer().needs_start())
      refuse(fmt::format("there is nothing left for the outer optimizer \"{}\" to do", center.outer().name()));
    if (options.quorum > 0) refuse(fmt::format("every step needs all workers; .quorum is {}", options.quorum));
    gradients = std::make_unique<detail::GradientExchange>(solver, group, *options.gradients);
  }

  double pull() const { return center.outer().pull(group.size()); }

  RoundStats round() {
    RoundPolicy policy = center.next(solver.iteration());
    const std::int64_t steps_left = solver.param().max_iter - solver.iteration();
    if (steps_left > 0 && (policy.max_steps <= 0 || policy.max_steps > steps_left)) policy.max_steps = steps_left;
    if (gradients && (policy.max_examples > 0 || policy.max_time.count() > 0))
      throw Error(
          "AveragingOptions: with .gradients in common a round ends by max_steps alone, for all workers at once");
    RoundStats stats{.first_iteration = solver.iteration(), .max_steps = policy.max_steps, .rate = solver.rate()};
    const RoundReport report = run_round(solver, policy);
    stats.train_time = report.time;
    const bool stop = callbacks.stop && callbacks.stop();

    Clock::time_point last = Clock::now();
    const auto lap = [&] {
      const Clock::time_point now = Clock::now();
      return now - std::exchange(last, now);
    };
    attendance = group.barrier(options.timeout, options.quorum);
    stats.wait_time = lap();
    if (!attendance.newcomers.empty()) inform_newcomers();
    stats.round = center.round();
    stats.faults = attendance.faults;
    average(stats, report, stop);
    stats.exchange_time = lap();
    apply(stats);
    stats.apply_time = lap();
    return stats;
  }

  /// They take over from the others all but the weights, which they get with the mean.
  void inform_newcomers() {
    const int root = attendance.root();
    std::vector<double> numbers = center.numbers();
    Tensor sent = Tensor::from(Shape(numbers.size()), numbers);
    group.broadcast(sent, root);
    const auto values = sent.span<double>();
    center.set_numbers({values.begin(), values.end()});
    for (Tensor tensor : center.tensors()) group.broadcast(tensor, root);
    if (Tensor start = center.start(); start.defined()) group.broadcast(start, root);
  }

  void average(RoundStats& stats, const RoundReport& report, bool stop) {
    if (!in_place) mirror.fetch_weights();
    Tensor weights = in_place ? solver.net().param_arena() : mirror.weights();
    const bool is_new = attendance.is_new(group.rank());
    const bool finite = (in_place ? is_finite_on(solver.net().backend(), weights) : detail::is_finite(weights)) &&
                        std::isfinite(report.loss_sum);
    counts = finite && !is_new;
    const double weight = counts ? detail::weight_of(options.weighting, report) : 0;
    enum { Workers, Steps, Examples, Loss, LossSteps, Squares, Stops, First, MaxSteps, Rate, Count };
    const std::size_t ranks = at(group.size()), mine_at = at(group.rank());
    // A sum can carry a maximum too: every rank has places of its own, for its iteration and its weight.
    Tensor sums(Shape(Count + 2 * ranks), DType::F64);
    const auto s = sums.span<double>();
    const auto iterations = s.subspan(Count, ranks), weights_of = s.subspan(Count + ranks);
    if (!is_new) {
      s[Workers] = counts;
      s[Steps] = static_cast<double>(report.steps);
      s[Examples] = static_cast<double>(report.examples);
      s[Loss] = counts ? report.loss_sum : 0;
      s[LossSteps] = counts ? static_cast<double>(report.steps) : 0;
      if (counts && center.needs_drift()) s[Squares] = weight * detail::squared_distance(weights, center.start());
      iterations[mine_at] = static_cast<double>(solver.iteration());
      weights_of[mine_at] = weight;
    }
    s[Stops] = stop;
    if (group.rank() == attendance.root()) {
      s[First] = static_cast<double>(stats.first_iteration);
      s[MaxSteps] = static_cast<double>(stats.max_steps);
      s[Rate] = stats.rate;
    }
    group.all_reduce_sum(sums);
    const double total = std::accumulate(weights_of.begin(), weights_of.end(), 0.0);
    stats.workers = static_cast<int>(s[Workers]);
    stats.returned = static_cast<int>(attendance.newcomers.size());
    stats.rejected = static_cast<int>(attendance.present.size()) - stats.returned - stats.workers;
    stats.lost = group.size() - static_cast<int>(attendance.present.size());
    stats.stops = static_cast<int>(s[Stops]);
    stats.steps = static_cast<std::int64_t>(s[Steps]);
    stats.examples = static_cast<std::int64_t>(s[Examples]);
    stats.first_iteration = static_cast<std::int64_t>(s[First]);
    stats.max_steps = static_cast<std::int64_t>(s[MaxSteps]);
    stats.rate = s[Rate];
    stats.iteration = static_cast<std::int64_t>(*std::max_element(iterations.begin(), iterations.end()));
    if (stats.workers == 0)
      throw Error("no worker's weights are finite after the round: the learning rate may be too high");
    stats.loss = s[Loss] / s[LossSteps];
    if (center.needs_drift()) stats.drift = s[Squares] / total;

    // In units of the first worker's weight, so that equal workers are added as they are and one alone is not touched.
    // Contribution::merge counts so too, which gives a master and its workers the same bits.
    const double unit = *std::find_if(weights_of.begin(), weights_of.end(), [](double w) { return w > 0; });
    if (mine.defined()) mine.copy_from(weights);
    if (gradients) return average_unlearned(weights, weight / unit, total / unit);
    group.all_reduce_mean(weights, weight / unit, total / unit);
    if (options.history != SolverHistory::Average) return;
    if (!in_place) mirror.fetch_history();
    for (int slot = 0; slot < solver.rule().slots(); ++slot) {
      Tensor history = in_place ? solver.history(slot) : mirror.history()[static_cast<std::size_t>(slot)];
      group.all_reduce_mean(history, weight / unit, total / unit);
    }
    if (!in_place) mirror.store_history();
  }

  /// All that is learned is equal on all workers.
  void average_unlearned(Tensor& weights, double scale, double divisor) {
    Dim count = 0;
    for (const auto& [begin, end] : center.unlearned()) count += end - begin;
    if (count == 0) return;
    Tensor values(Shape(count), weights.dtype());
    const auto for_each = [&](const auto& work) {
      Dim first = 0;
      for (const auto& [begin, end] : center.unlearned()) {
        Tensor of_weights = weights.subarray(Shape(begin), Shape(end));
        Tensor of_values = values.subarray(Shape(first), Shape(first + end - begin));
        work(of_weights, of_values);
        first += end - begin;
      }
    };
    for_each([](const Tensor& of_weights, Tensor& of_values) { of_values.copy_from(of_weights); });
    group.all_reduce_mean(values, scale, divisor);
    for_each([](Tensor& of_weights, const Tensor& of_values) { of_weights.copy_from(of_values); });
  }

  void apply(RoundStats& stats) {
    Tensor weights = mirror.weights();
    if (mine.defined()) draw(mine, center.start(), pull());
    center.advance(weights, stats);
    if (mine.defined()) {
      if (!counts) mine.copy_from(weights);
      weights.copy_from(mine);
    }
    if (!in_place) mirror.store_weights();
    const bool fresh = options.history == SolverHistory::Keep && !counts;
    if (fresh || options.history == SolverHistory::Reset) solver.reset_history();
    solver.set_iteration(stats.iteration);
  }

  Tensor agreed() const { return mine.defined() ? center.start() : mirror.weights(); }

  detail::GroupSnapshot describe() const {
    detail::GroupSnapshot snapshot{
        .rule = std::string(solver.rule().name()),
        .outer = std::string(center.outer().name()),
        .schedule = std::string(center.schedule().name()),
        .dtype = solver.net().options().dtype,
        .history = options.history,
        .own_weights = mine.defined(),
        .slots = static_cast<std::uint32_t>(solver.rule().slots()),
        .iteration = solver.iteration(),
        .numbers = center.numbers(),
        .layout = solver.net().params(),
        .arena = mirror.weights().count()};
    for (const Tensor& tensor : center.tensors()) snapshot.outer_tensors.emplace_back(tensor.dtype(), tensor.count());
    return snapshot;
  }

  /// What of this worker alone a snapshot holds.
  std::vector<Tensor> own_tensors() const {
    std::vector<Tensor> tensors;
    if (mine.defined()) tensors.push_back(mirror.weights());
    if (options.history == SolverHistory::Keep)
      tensors.insert(tensors.end(), mirror.history().begin(), mirror.history().end());
    return tensors;
  }

  std::vector<Tensor> common_tensors() const {
    std::vector<Tensor> tensors = {agreed()};
    for (const Tensor& tensor : center.tensors()) tensors.push_back(tensor);
    if (options.history == SolverHistory::Average)
      tensors.insert(tensors.end(), mirror.history().begin(), mirror.history().end());
    return tensors;
  }

  void snapshot(const std::filesystem::path& file) {
    detail::GroupSnapshot snapshot = describe();
    gather_workers(snapshot);
    if (in_place) mirror.fetch_weights();
    mirror.fetch_history();
    std::optional<detail::GroupSnapshotWriter> writer;
    if (group.rank() == attendance.root()) {
      writer.emplace(file, snapshot);
      for (const Tensor& tensor : common_tensors()) writer->tensor(tensor);
    }
    for (int rank = 0; rank < group.size(); ++rank)
      for (const Tensor& of_mine : own_tensors()) {
        Tensor of_rank = rank == group.rank() ? of_mine : Tensor(of_mine.shape(), of_mine.dtype());
        if (snapshot.workers[at(rank)].present && rank != attendance.root()) group.broadcast(of_rank, rank);
        if (writer) writer->tensor(of_rank);
      }
    if (!writer) return;
    writer->commit();
    if (callbacks.snapshotted) callbacks.snapshotted(file);
  }

  void gather_workers(detail::GroupSnapshot& snapshot) {
    // 64 bits do not fit a double, so the seed goes in halves.
    enum { SeedHigh, SeedLow, Passes, Cursor, Fields };
    Tensor table(Shape(group.size() * Fields), DType::F64);
    const auto row = table.span<double>().subspan(at(group.rank()) * Fields, Fields);
    Net& net = solver.net();
    row[SeedHigh] = static_cast<double>(net.options().seed >> 32);
    row[SeedLow] = static_cast<double>(net.options().seed & 0xFFFFFFFF);
    row[Passes] = static_cast<double>(net.passes());
    row[Cursor] = net.feed() ? static_cast<double>(net.feed()->cursor()) : -1;
    group.all_reduce_sum(table);
    snapshot.workers.resize(at(group.size()));
    for (const int rank : attendance.present) {
      const auto of = table.span<double>().subspan(at(rank) * Fields, Fields);
      snapshot.workers[at(rank)] = {
          .present = true,
          .seed = static_cast<std::uint64_t>(of[SeedHigh]) << 32 | static_cast<std::uint64_t>(of[SeedLow]),
          .passes = static_cast<std::uint64_t>(of[Passes]),
          .cursor = static_cast<std::int64_t>(of[Cursor])};
    }
  }

  void restore(const std::filesystem::path& file) {
    std::optional<detail::GroupSnapshotReader> reader;
    const detail::GroupSnapshot snapshot = read_together(file, reader);
    snapshot.require_fits(file.string(), describe());
    Net& net = solver.net();
    const auto worker = snapshot.resumed(group.rank(), group.size(), solver.param().iter_size);
    if (worker.seed != 0 && worker.seed != net.options().seed)
      throw DataError(
          file.string(),
          -1,
          fmt::format("is of a run with seed {}, and this one has seed {}", worker.seed, net.options().seed));
    center.set_numbers(snapshot.numbers);
    const auto receive = [&](Tensor values) {
      if (reader) reader->tensor(values);
      group.broadcast(values, 0);
    };
    for (const Tensor& tensor : common_tensors()) receive(tensor);
    center.set_start(agreed());
    if (mine.defined()) assign(mirror.weights(), center.start());
    if (options.history != SolverHistory::Average) {
      solver.reset_history();
      mirror.fetch_history();
    }
    for (std::size_t rank = 0; rank < snapshot.workers.size(); ++rank)
      for (Tensor of_mine : own_tensors()) {
        const Tensor of_rank(of_mine.shape(), of_mine.dtype());
        receive(of_rank);
        if (rank == at(group.rank()) && snapshot.workers[rank].present) of_mine.copy_from(of_rank);
      }
    mirror.store_weights();
    mirror.store_history();
    solver.set_iteration(snapshot.iteration);
    net.set_passes(worker.passes);
    if (net.feed() && worker.cursor >= 0) net.feed()->seek(worker.cursor);
  }

  /// Rank 0 reads, and all hear of it or of its error.
  detail::GroupSnapshot read_together(
      const std::filesystem::path& file, std::optional<detail::GroupSnapshotReader>& reader) {
    enum { Failed, Offset, Bytes, Fields };
    Tensor told(Shape(int{Fields}), DType::F64);
    const auto news = told.span<double>();
    std::vector<std::byte> text;
    if (group.rank() == 0) {
      try {
        reader.emplace(file);
        text.assign(reader->header().begin(), reader->header().end());
      } catch (const DataError& error) {
        const auto what = std::as_bytes(std::span(std::string_view(error.what())));
        text.assign(what.begin(), what.end());
        news[Failed] = 1;
        news[Offset] = static_cast<double>(error.offset());
      }
      news[Bytes] = static_cast<double>(text.size());
    }
    group.broadcast(told, 0);
    Tensor sent(Shape(static_cast<Dim>(news[Bytes])), DType::U8);
    std::copy(text.begin(), text.end(), sent.raw());
    group.broadcast(sent, 0);
    if (news[Failed] == 0) return detail::GroupSnapshot::parse(file.string(), {sent.raw(), sent.bytes()});
    const auto offset = static_cast<std::int64_t>(news[Offset]);
    const std::string what(reinterpret_cast<const char*>(sent.raw()), sent.bytes());
    throw DataError(file.string(), offset, what.substr(std::strlen(DataError(file.string(), offset, "").what())));
  }

  std::unique_ptr<Solver> own;
  Solver& solver;
  detail::HostMirror mirror;
  Communicator& group;
  AveragingOptions options;
  AveragingCallbacks callbacks;
  detail::Center center;
  Attendance attendance;
  /// This worker's own weights, where the outer optimizer leaves it some.
  Tensor mine;
  /// Whether this worker's weights were in the last mean.
  bool counts = true;
  /// Whether weights and history are averaged where they are, on a GPU that the group reaches, and not in the mirror.
  bool in_place = false;
  std::unique_ptr<detail::GradientExchange> gradients;
};

AveragingSolver::AveragingSolver(
    SolverParam param, NetParam net, Communicator& communicator, AveragingOptions options, NetOptions net_options) {
  auto own = std::make_unique<Solver>(std::move(param), std::move(net), for_rank(std::move(net_options), communicator));
  Solver& solver = *own;
  state_ = std::make_unique<State>(std::move(own), solver, communicator, std::move(options));
}

AveragingSolver::AveragingSolver(Solver& solver, Communicator& communicator, AveragingOptions options)
    : state_(std::make_unique<State>(nullptr, solver, communicator, std::move(options))) {}

AveragingSolver::~AveragingSolver() = default;

Solver& AveragingSolver::solver() {
  return state_->solver;
}

WeightCollection AveragingSolver::weights() const {
  WeightCollection weights = state_->solver.net().weights();
  if (state_->mine.defined()) weights.arena().copy_from(state_->center.start());
  return weights;
}

void AveragingSolver::set_callbacks(AveragingCallbacks callbacks) {
  state_->callbacks = std::move(callbacks);
}

void AveragingSolver::set_training_data(SourcePtr source, FeedOptions options) {
  const Communicator& group = state_->group;
  state_->solver.set_training_data(partition(std::move(source), group.rank(), group.size()), std::move(options));
}

RoundStats AveragingSolver::round() {
  return state_->round();
}

void AveragingSolver::solve() {
  State& s = *state_;
  const SolverParam& param = s.solver.param();
  const auto snapshot_now = [&] {
    snapshot(fmt::format("{}_iter_{}.snap", param.snapshot_prefix, s.solver.iteration()));
  };
  const bool snapshots = !param.snapshot_prefix.empty();
  bool stopped = false, trained = false;
  while (!stopped && s.solver.iteration() < param.max_iter) {
    const RoundStats stats = s.round();
    if (s.callbacks.after_round) s.callbacks.after_round(stats);
    trained = true;
    stopped = stats.stops > 0;
    // Of numbers that all have alike, one that just came back too: they save together.
    const bool due = param.snapshot > 0 && stats.iteration / param.snapshot > stats.first_iteration / param.snapshot;
    if (snapshots && due && !stopped && stats.iteration < param.max_iter) snapshot_now();
  }
  if (snapshots && trained) snapshot_now();
  if (!s.mine.defined()) return;
  assign(s.mirror.weights(), s.center.start());
  s.mirror.store_weights();
}

void AveragingSolver::solve(SourcePtr source, FeedOptions options) {
  set_training_data(std::move(source), std::move(options));
  solve();
}

void AveragingSolver::snapshot(const std::filesystem::path& file) {
  state_->snapshot(file);
}

void AveragingSolver::restore(const std::filesystem::path& file) {
  state_->restore(file);
}

}  // namespace sparknet
