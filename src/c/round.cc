#include <chrono>

#include "src/c/handles.h"

using namespace sparknet;
using namespace sparknet::c;

namespace {

std::span<const std::byte> bytes_of(const void* bytes, std::size_t size, const char* what) {
  if (size > 0) require_given(bytes, what);
  return {static_cast<const std::byte*>(bytes), size};
}

std::vector<Contribution> take_all(sparknet_contribution* const* parts, std::size_t count) {
  if (count > 0) require_given(parts, "parts");
  std::vector<Contribution> taken;
  for (std::size_t i = 0; i < count; ++i) taken.push_back(given(parts[i], "parts").contribution);
  return taken;
}

}  // namespace

sparknet_status sparknet_solver_round(
    sparknet_solver* solver, const void* task, size_t bytes, int32_t worker, sparknet_contribution** out) {
  return guard([&] {
    require_given(out, "out");
    Solver& s = *given(solver, "solver").solver;
    give(out, run_round_task(s, decode_round_task(bytes_of(task, bytes, "task")), worker));
  });
}

sparknet_status sparknet_contribution_encode(
    const sparknet_contribution* contribution, sparknet_text options, sparknet_bytes** out) {
  return guard([&] {
    Fields fields(text_of(options, "options"), "options of encoding");
    EncodeOptions how;
    int number = 0, count = 1;
    fields.take("codec", how.codec, {{"exact", Codec::Exact}, {"bf16", Codec::BF16}, {"int8", Codec::Int8}});
    fields.take("slice", number);
    fields.take("slices", count);
    fields.finish();
    const Contribution& whole = given(contribution, "contribution").contribution;
    give(out, count == 1 && number == 0 ? encode(whole, how) : encode(slice(whole, number, count), how));
  });
}

sparknet_status sparknet_contribution_decode(
    const void* bytes, size_t size, sparknet_text name, sparknet_contribution** out) {
  return guard([&] { give(out, decode(bytes_of(bytes, size, "bytes"), std::string(text_of(name, "name")))); });
}

sparknet_status sparknet_contribution_merge(
    sparknet_contribution* const* parts, size_t count, sparknet_contribution** out) {
  return guard([&] { give(out, merge(take_all(parts, count))); });
}

sparknet_status sparknet_contribution_info(const sparknet_contribution* contribution, sparknet_bytes** out) {
  return guard([&] {
    const Contribution& c = given(contribution, "contribution").contribution;
    Json workers = Json::array();
    for (const WorkerState& state : c.states) workers.push_back(state.worker);
    give_json(
        out,
        {{"round", c.round},
         {"slice", c.slice},
         {"slices", c.slices},
         {"workers", workers},
         {"rejected", c.rejected},
         {"steps", c.steps},
         {"examples", c.examples},
         {"loss", c.loss_steps > 0 ? number(c.loss_sum / static_cast<double>(c.loss_steps)) : Json(nullptr)},
         {"seconds", number(c.most_seconds)}});
  });
}

void sparknet_contribution_free(sparknet_contribution* contribution) {
  delete contribution;
}

sparknet_status sparknet_joiner_create(sparknet_joiner** out) {
  return guard([&] { give(out); });
}

sparknet_status sparknet_joiner_add(sparknet_joiner* joiner, const sparknet_contribution* slice) {
  return guard([&] { given(joiner, "joiner").joiner.add(given(slice, "slice").contribution); });
}

sparknet_status sparknet_joiner_take(sparknet_joiner* joiner, sparknet_contribution** out) {
  return guard([&] {
    require_given(out, "out");
    give(out, given(joiner, "joiner").joiner.take());
  });
}

void sparknet_joiner_free(sparknet_joiner* joiner) {
  delete joiner;
}

sparknet_status sparknet_master_create(
    const sparknet_solver_param* solver, const sparknet_net* first, sparknet_text options, sparknet_master** out) {
  return guard([&] {
    Fields fields(text_of(options, "options"), "options of the rounds");
    int workers = 0;
    Carries carries = Carries::Weights;
    fields.require("workers", workers);
    fields.take("carries", carries, {{"weights", Carries::Weights}, {"differences", Carries::Differences}});
    AveragingOptions averaging = averaging_options(fields, SolverHistory::Reset, false);
    fields.finish();
    give(
        out,
        RoundMaster(
            given(solver, "solver").param,
            given(first, "first").net->weights(),
            workers,
            std::move(averaging),
            carries));
  });
}

sparknet_status sparknet_master_task(const sparknet_master* master, sparknet_bytes** out) {
  return guard([&] { give(out, encode(given(master, "master").master.task())); });
}

sparknet_status sparknet_master_apply(
    sparknet_master* master, sparknet_contribution* const* parts, size_t count, sparknet_bytes** stats) {
  return guard([&] {
    const RoundStats done = given(master, "master").master.apply(take_all(parts, count));
    if (stats) give_json(stats, round_stats(done));
  });
}

sparknet_status sparknet_master_info(const sparknet_master* master, sparknet_bytes** out) {
  return guard([&] {
    const RoundMaster& m = given(master, "master").master;
    give_json(
        out,
        {{"round", m.round()},
         {"iteration", m.iteration()},
         {"done", m.done()},
         {"elements", m.weights().arena().count()},
         {"dtype", to_string(m.weights().dtype())}});
  });
}

sparknet_status sparknet_master_get_weights(const sparknet_master* master, void* out, size_t bytes) {
  return guard([&] { copy_weights_to(given(master, "master").master.weights().arena(), out, bytes); });
}

sparknet_status sparknet_master_snapshot(const sparknet_master* master, sparknet_text file) {
  return guard([&] { given(master, "master").master.snapshot(std::string(text_of(file, "file"))); });
}

sparknet_status sparknet_master_restore(sparknet_master* master, sparknet_text file) {
  return guard([&] { given(master, "master").master.restore(std::string(text_of(file, "file"))); });
}

void sparknet_master_free(sparknet_master* master) {
  delete master;
}
