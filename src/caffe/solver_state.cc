#include "sparknet/caffe/solver_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <string_view>
#include <system_error>

#include "src/caffe/blob_proto.h"
#include "src/caffe/hdf5_file.h"
#include "src/caffe/model_file.h"
#include "src/caffe/proto.h"
#include "src/caffe/solver_state_file.h"
#include "src/host_mirror.h"
#include "src/io/file.h"

namespace sparknet::caffe {
namespace {

/// The parameters that the history is of, in Caffe's order.
const std::vector<ParamInfo>& history_params(Solver& solver) {
  return solver.net().params();
}

/// A parameter's part of a slot of history, which has the shape of the arena.
Tensor part(const detail::HostMirror& mirror, int slot, const ParamInfo& info) {
  return mirror.history()[static_cast<std::size_t>(slot)]
      .subarray({info.offset}, {info.offset + info.shape.count()})
      .reshape(info.shape);
}

/// Caffe's own rules keep their numbers as ours of the same names do, in the same order of slots.
bool caffe_has(std::string_view rule) {
  constexpr std::array<std::string_view, 6> rules = {"sgd", "nesterov", "adagrad", "rmsprop", "adadelta", "adam"};
  return std::find(rules.begin(), rules.end(), rule) != rules.end();
}

/// How often the rate has been changed up to the last step: what Caffe's policies "step" and "multistep" count by.
std::int64_t current_step(const SolverParam& param, std::int64_t iteration) {
  const std::int64_t last = std::max<std::int64_t>(iteration - 1, 0);
  if (const auto* step = std::get_if<lr_policy::Step>(&param.lr_policy)) return last / step->stepsize;
  if (const auto* steps = std::get_if<lr_policy::MultiStep>(&param.lr_policy))
    return std::count_if(steps->stepvalue.begin(), steps->stepvalue.end(), [&](std::int64_t value) {
      return value <= last;
    });
  return 0;
}

void check_iteration(const std::string& file, std::int64_t iteration) {
  if (iteration < 0 || iteration > INT_MAX) throw DataError(file, -1, fmt::format("is of iteration {}", iteration));
}

StateFile read_hdf5_state(const Hdf5Reader& in) {
  StateFile state;
  state.iteration = in.read_int("iter");
  check_iteration(in.name(), state.iteration);
  if (in.kind("current_step") == Hdf5Reader::Kind::Dataset) state.current_step = in.read_int("current_step");
  if (in.kind("learned_net") == Hdf5Reader::Kind::Dataset) state.learned_net = in.read_text("learned_net");
  const std::size_t count = in.names("history").size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string path = fmt::format("history/{}", i);
    state.history.push_back(in.read(path, in.info(path).dtype == DType::F64 ? DType::F64 : DType::F32));
  }
  return state;
}

std::filesystem::path find_model(const std::filesystem::path& state, const std::string& learned_net) {
  std::error_code ignored;
  const std::filesystem::path named = learned_net, beside = state.parent_path() / named.filename();
  for (const std::filesystem::path& path : {named, beside})
    if (std::filesystem::is_regular_file(path, ignored)) return path;
  throw DataError(
      state.string(),
      -1,
      fmt::format(
          "its weights are in \"{}\", which is neither there nor \"{}\"; say where it is",
          learned_net,
          beside.string()));
}

}  // namespace

StateFile parse_state(const std::string& file, std::span<const std::byte> bytes) {
  if (is_hdf5(bytes)) return read_hdf5_state(Hdf5Reader(file, bytes));
  const auto message = std::make_shared<proto::SolverState>();
  parse(file, bytes, *message);
  if (!message->has_iter()) throw DataError(file, -1, "names no iteration; is it a solver's state?");
  StateFile state{message->iter(), message->current_step(), message->learned_net(), {}};
  check_iteration(file, state.iteration);
  for (int i = 0; i < message->history_size(); ++i)
    state.history.push_back(
        blob_tensor(message, *message->mutable_history(i), file, fmt::format("history, blob {}:", i)));
  return state;
}

StateFile read_state(const std::filesystem::path& file) {
  if (is_hdf5(file)) return read_hdf5_state(Hdf5Reader(file));
  const detail::File content(file);
  return parse_state(content.name(), std::as_bytes(std::span(content.data(), content.size())));
}

RestoreReport restore_state(
    Solver& solver, const std::filesystem::path& file, const std::optional<std::filesystem::path>& model) {
  const StateFile state = read_state(file);
  const auto refuse = [&](const std::string& why) { throw DataError(file.string(), -1, why); };
  const std::vector<ParamInfo> params = history_params(solver);
  const int slots = solver.rule().slots();
  if (!caffe_has(solver.rule().name()))
    refuse(fmt::format("is Caffe's, which has no update rule \"{}\"", solver.rule().name()));
  if (state.history.size() != params.size() * static_cast<std::size_t>(slots))
    refuse(fmt::format(
        "has a history of {} blobs; the update rule \"{}\" keeps {} for each of the net's {} parameters",
        state.history.size(),
        solver.rule().name(),
        slots,
        params.size()));
  for (std::size_t i = 0; i < state.history.size(); ++i) {
    const ParamInfo& info = params[i % params.size()];
    if (!same_blob_shape(state.history[i].shape(), info.shape))
      refuse(fmt::format(
          "blob {} of its history is {}, and \"{}\" is {} in the net",
          i,
          to_string(state.history[i].shape()),
          info.full_name(),
          to_string(info.shape)));
  }

  RestoreReport report{state.iteration, {}, {}};
  if (model || !state.learned_net.empty()) {
    report.model = model ? *model : find_model(file, state.learned_net);
    try {
      report.weights = copy_weights(solver.net(), report.model);
    } catch (const ShapeError& why) {
      refuse(why.what());
    }
  }
  // From here on nothing fails.
  detail::HostMirror mirror(solver);
  for (std::size_t i = 0; i < state.history.size(); ++i) {
    const ParamInfo& info = params[i % params.size()];
    Tensor target = part(mirror, static_cast<int>(i / params.size()), info);
    target.copy_from(state.history[i].cast(target.dtype()).reshape(info.shape));
  }
  mirror.store_history();
  solver.set_iteration(state.iteration);
  solver.net().set_passes(static_cast<std::uint64_t>(state.iteration * solver.param().iter_size));
  return report;
}

void save_state(Solver& solver, const std::filesystem::path& file, const std::filesystem::path& model) {
  const auto refuse = [&](const std::string& why) { throw DataError(file.string(), -1, why); };
  if (!caffe_has(solver.rule().name()))
    refuse(fmt::format("cannot be written: Caffe has no update rule \"{}\"", solver.rule().name()));
  const std::int64_t iteration = solver.iteration();
  if (iteration > INT_MAX) refuse(fmt::format("cannot be written: Caffe counts no {} iterations", iteration));
  const auto step = static_cast<std::int32_t>(current_step(solver.param(), iteration));
  const detail::HostMirror mirror(solver);
  const auto each = [&, params = history_params(solver)](auto&& f) {
    std::size_t i = 0;
    for (int slot = 0; slot < solver.rule().slots(); ++slot)
      for (const ParamInfo& info : params) f(i++, part(mirror, slot, info));
  };
  if (file.extension() == ".h5") {
    Hdf5Writer out(file);
    out.write_int("iter", static_cast<std::int32_t>(iteration));
    out.write_text("learned_net", model.string());
    out.write_int("current_step", step);
    out.group("history");
    each([&](std::size_t i, const Tensor& values) { out.write(fmt::format("history/{}", i), values); });
    out.commit();
    return;
  }
  proto::SolverState state;
  state.set_iter(static_cast<std::int32_t>(iteration));
  state.set_learned_net(model.string());
  state.set_current_step(step);
  each([&](std::size_t, const Tensor& values) { fill_blob(values, *state.add_history()); });
  write_message(file, state);
}

SnapshotFiles write_snapshot(Solver& solver, const std::string& prefix, bool hdf5) {
  const std::string stem = fmt::format("{}_iter_{}", prefix, solver.iteration()), end = hdf5 ? ".h5" : "";
  SnapshotFiles files{stem + ".caffemodel" + end, stem + ".solverstate" + end};
  write_model(solver.net(), files.model);
  save_state(solver, files.state, files.model);
  return files;
}

}  // namespace sparknet::caffe
