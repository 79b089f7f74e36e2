#include <fmt/format.h>

#include <chrono>

#ifdef SPARKNET_WITH_GLOO
#include "sparknet/distributed/gloo.h"
#endif
#include "src/c/handles.h"

using namespace sparknet;
using namespace sparknet::c;

namespace {

std::function<std::unique_ptr<OuterOptimizer>()> outer_from(const Json& json, const std::string& what, bool all) {
  enum class Kind { Average, DiLoCo, Sgd, SlowMo, Elastic };
  std::vector<std::pair<std::string, Kind>> kinds = {
      {"average", Kind::Average},
      {"diloco", Kind::DiLoCo},
      {"sgd", Kind::Sgd},
      {"slowmo", Kind::SlowMo}};
  if (all) kinds.emplace_back("elastic", Kind::Elastic);
  Fields fields(json.is_string() ? Json{{"type", json}} : json, what);
  Kind kind = Kind::Average;
  fields.take("type", kind, kinds);
  std::function<std::unique_ptr<OuterOptimizer>()> make;
  if (kind == Kind::Average) {
    make = plain_average;
  } else if (kind == Kind::DiLoCo) {
    make = diloco;
  } else if (kind == Kind::Sgd) {
    OuterSgdOptions options;
    fields.take("lr", options.lr);
    fields.take("momentum", options.momentum);
    fields.take("nesterov", options.nesterov);
    make = [options] { return outer_sgd(options); };
  } else if (kind == Kind::SlowMo) {
    SlowMoOptions options;
    fields.take("lr", options.lr);
    fields.take("momentum", options.momentum);
    make = [options] { return slowmo(options); };
  } else {
    ElasticAverageOptions options;
    fields.take("beta", options.beta);
    make = [options] { return elastic_average(options); };
  }
  fields.finish();
  return make;
}

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

void take_seconds(Fields& fields, const char* name, std::chrono::nanoseconds& time) {
  double value = seconds(time);
  fields.take(name, value);
  if (!(value >= 0 && value < 1e9)) throw DataError(fields.name_of(name), -1, "from 0 to 10^9 is wanted");
  time = std::chrono::nanoseconds(static_cast<std::int64_t>(value * 1e9));
}

}  // namespace

namespace sparknet::c {

AveragingOptions averaging_options(Fields& fields, SolverHistory history, bool all) {
  AveragingOptions options{.round = {.max_steps = 0}, .history = history};
  fields.take("tau", options.round.max_steps);
  fields.take("round_examples", options.round.max_examples);
  take_seconds(fields, "round_seconds", options.round.max_time);
  fields.take(
      "weighting",
      options.weighting,
      {{"examples", Weighting::Examples}, {"steps", Weighting::Steps}, {"uniform", Weighting::Uniform}});
  fields.take(
      "history",
      options.history,
      {{"reset", SolverHistory::Reset}, {"average", SolverHistory::Average}, {"keep", SolverHistory::Keep}});
  fields.take("quorum", options.quorum);
  if (const Json* outer = fields.find("outer")) options.outer = outer_from(*outer, fields.name_of("outer"), all);
  if (!all) return options;
  take_seconds(fields, "timeout", options.timeout);
  bool gradients = false;
  fields.take("gradients", gradients);
  if (gradients) options.gradients.emplace();
  return options;
}

Json round_stats(const RoundStats& stats) {
  return {
      {"round", stats.round},
      {"iteration", stats.iteration},
      {"workers", stats.workers},
      {"rejected", stats.rejected},
      {"steps", stats.steps},
      {"examples", stats.examples},
      {"loss", number(stats.loss)},
      {"rate", number(stats.rate)},
      {"seconds", seconds(stats.train_time)}};
}

}  // namespace sparknet::c

sparknet_status sparknet_communicator_create(
    int32_t rank, int32_t size, sparknet_text options, sparknet_all_gather all_gather, void* context,
    sparknet_communicator** out) {
  return guard([&] {
    require_given(out, "out");
    require_given(reinterpret_cast<const void*>(all_gather), "all_gather");
    Fields fields(text_of(options, "options"), "options of a communicator");
    std::string host;
    std::chrono::nanoseconds timeout = std::chrono::minutes(10);
    fields.take("host", host);
    take_seconds(fields, "timeout", timeout);
    fields.finish();
#ifdef SPARKNET_WITH_GLOO
    const auto gather = [&](const std::string& mine) {
      std::vector<sparknet_text> all(static_cast<std::size_t>(size));
      if (const int32_t status = all_gather(context, {mine.data(), mine.size()}, all.data()); status != 0)
        throw Error(fmt::format("rank {} of {}: all_gather returned {}", rank, size, status));
      std::vector<std::string> lines;
      for (const sparknet_text& line : all) lines.emplace_back(text_of(line, "all"));
      return lines;
    };
    give(out, gloo_communicator(rank, size, gather, {.host = host, .timeout = timeout}));
#else
    throw Error("this library was built without Gloo (Debian: apt-get install libgloo-dev)");
#endif
  });
}

sparknet_status sparknet_communicator_broadcast(
    sparknet_communicator* communicator, const sparknet_tensor* values, int32_t root) {
  return guard([&] {
    Tensor tensor = tensor_of(given(values, "values"), "values");
    given(communicator, "communicator").communicator->broadcast(tensor, root);
  });
}

sparknet_status sparknet_communicator_sum(sparknet_communicator* communicator, const sparknet_tensor* values) {
  return guard([&] {
    Tensor tensor = tensor_of(given(values, "values"), "values");
    given(communicator, "communicator").communicator->all_reduce_sum(tensor);
  });
}

sparknet_status sparknet_communicator_leave(sparknet_communicator* communicator) {
  return guard([&] { given(communicator, "communicator").communicator->leave(); });
}

void sparknet_communicator_free(sparknet_communicator* communicator) {
  if (communicator) communicator->communicator->abandon();
  delete communicator;
}

sparknet_status sparknet_averaging_create(
    sparknet_solver* solver, sparknet_communicator* communicator, sparknet_text options, sparknet_averaging** out) {
  return guard([&] {
    require_given(out, "out");
    Fields fields(text_of(options, "options"), "options of averaging");
    AveragingOptions averaging = averaging_options(fields, SolverHistory::Keep, true);
    fields.finish();
    const std::shared_ptr<Solver>& s = given(solver, "solver").solver;
    const std::shared_ptr<Communicator>& group = given(communicator, "communicator").communicator;
    *out = new sparknet_averaging{s, group, AveragingSolver(*s, *group, std::move(averaging))};
  });
}

sparknet_status sparknet_averaging_round(sparknet_averaging* averaging, sparknet_bytes** stats) {
  return guard([&] {
    const RoundStats done = given(averaging, "averaging").averaging.round();
    if (!stats) return;
    Json json = round_stats(done);
    json["wait"] = seconds(done.wait_time);
    json["exchange"] = seconds(done.exchange_time);
    json["apply"] = seconds(done.apply_time);
    give_json(stats, json);
  });
}

sparknet_status sparknet_averaging_info(const sparknet_averaging* averaging, sparknet_bytes** out) {
  return guard([&] {
    Solver& solver = *given(averaging, "averaging").solver;
    give_json(
        out,
        {{"iteration", solver.iteration()},
         {"done", solver.iteration() >= solver.param().max_iter},
         {"elements", solver.net().param_arena_count()},
         {"dtype", to_string(solver.net().options().dtype)}});
  });
}

sparknet_status sparknet_averaging_get_weights(const sparknet_averaging* averaging, void* out, size_t bytes) {
  return guard([&] { copy_weights_to(given(averaging, "averaging").averaging.weights().arena(), out, bytes); });
}

sparknet_status sparknet_averaging_snapshot(sparknet_averaging* averaging, sparknet_text file) {
  return guard([&] { given(averaging, "averaging").averaging.snapshot(std::string(text_of(file, "file"))); });
}

sparknet_status sparknet_averaging_restore(sparknet_averaging* averaging, sparknet_text file) {
  return guard([&] { given(averaging, "averaging").averaging.restore(std::string(text_of(file, "file"))); });
}

void sparknet_averaging_free(sparknet_averaging* averaging) {
  delete averaging;
}
