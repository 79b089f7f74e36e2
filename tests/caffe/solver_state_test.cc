#include "sparknet/caffe/solver_state.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "sparknet/sparknet.h"
#include "src/caffe/proto.h"
#include "src/caffe/solver_state_file.h"
#include "tests/temp_dir.h"
#include "tests/tensor_values.h"

using namespace sparknet;
using namespace sparknet::caffe;
using sparknet::testing::counting;

namespace {

NetParam small_net(Dim outputs = 3) {
  return NetParam(
      "small",
      RDDLayer{"data", {4, 2}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"ip1", {"data"}, {.num_output = outputs}},
      DropoutLayer{"drop1", {"ip1"}},
      InnerProductLayer{"ip2", {"drop1"}, {.num_output = 2}},
      SoftmaxWithLoss{"loss", {"ip2", "label"}});
}

Solver make(SolverParam param, const NetParam& net = small_net(), DType dtype = DType::F32) {
  Solver solver(std::move(param), net, {.dtype = dtype, .threads = 1});
  Tensor data = counting({4, 2}, dtype), label = Tensor::from({4}, {0.F, 1.F, 1.F, 0.F});
  data.multiply(0.25);
  solver.net().set_input("data", data);
  solver.net().set_input("label", label);
  return solver;
}

std::vector<std::pair<std::string, SolverParam>> all_rules() {
  SolverParam step{.base_lr = 0.1, .lr_policy = lr_policy::Step{0.5, 2}, .momentum = 0.9, .weight_decay = 0.01};
  std::vector<std::pair<std::string, SolverParam>> rules = {{"sgd", step}};
  step.momentum = 0;
  for (const auto& [name, rule] : std::vector<std::pair<std::string, std::shared_ptr<const UpdateRule>>>{
           {"nesterov", nesterov(0.9)},
           {"adagrad", adagrad()},
           {"rmsprop", rmsprop()},
           {"adadelta", adadelta()},
           {"adam", adam()}}) {
    rules.push_back({name, step});
    rules.back().second.rule = rule;
  }
  return rules;
}

template <class F>
std::string trouble(F&& f) {
  try {
    f();
  } catch (const DataError& error) {
    return error.what();
  }
  return "none";
}

std::vector<bool> formats() {
#ifdef SPARKNET_WITH_HDF5
  return {false, true};
#else
  return {false};
#endif
}

}  // namespace

TEST_CASE("a run goes on from a state as if it had not stopped") {
  const TempDir dir;
  for (const bool hdf5 : formats())
    for (const DType dtype : {DType::F32, DType::F64})
      for (const auto& rule : all_rules()) {
        const std::string& name = rule.first;
        const SolverParam& param = rule.second;
        CAPTURE(name);
        Solver through = make(param, small_net(), dtype);
        through.step(5);
        const SnapshotFiles files = write_snapshot(through, (dir / name).string(), hdf5);
        CHECK(files.state.string() == (dir / (name + "_iter_5.solverstate" + (hdf5 ? ".h5" : ""))).string());
        through.step(5);

        Solver other = make(param, small_net(), dtype);
        other.step(1);
        const RestoreReport report = restore_state(other, files.state);
        CHECK(report.iteration == 5);
        CHECK(report.model == files.model);
        CHECK(other.iteration() == 5);
        other.step(5);
        CHECK(other.net().weights() == through.net().weights());
        for (int slot = 0; slot < through.rule().slots(); ++slot) CHECK(other.history(slot) == through.history(slot));
      }
}

TEST_CASE("what is written is Caffe's") {
  const TempDir dir;
  SolverParam param{.base_lr = 0.1, .rule = adam()};
  param.lr_policy = lr_policy::Step{0.5, 2};
  Solver solver = make(param);
  solver.step(5);
  save_state(solver, dir / "x.solverstate", "some/where.caffemodel");
  proto::SolverState state;
  read_message(dir / "x.solverstate", state);
  CHECK(state.iter() == 5);
  CHECK(state.current_step() == 2);  // of the last step, whose iteration was 4
  CHECK(state.learned_net() == "some/where.caffemodel");
  // Caffe's Adam: the first moments of all parameters, then the second ones.
  REQUIRE(state.history_size() == 8);
  CHECK(state.history(0).shape().dim_size() == 2);
  CHECK(state.history(0).data_size() == 6);
  CHECK(state.history(0).data(0) == solver.history(0).get<float>(0));
  CHECK(state.history(4).data_size() == 6);
  CHECK(state.history(4).data(0) == solver.history(1).get<float>(0));
  CHECK(state.history(7).data_size() == 2);

  for (const auto& [iteration, wanted] : std::vector<std::pair<std::int64_t, int>>{{0, 0}, {3, 0}, {4, 1}, {9, 2}}) {
    Solver steps = make({.lr_policy = lr_policy::MultiStep{0.5, {3, 7}}});
    steps.set_iteration(iteration);
    save_state(steps, dir / "y.solverstate", "");
    read_message(dir / "y.solverstate", state);
    CHECK(state.current_step() == wanted);
  }
}

TEST_CASE("states that do not fit are refused, and the solver is as it was") {
  const TempDir dir;
  Solver solver = make({.momentum = 0.9});
  solver.step(2);
  const SnapshotFiles files = write_snapshot(solver, (dir / "x").string());
  const auto refused = [&](Solver other, const std::optional<std::filesystem::path>& model = {}) {
    other.step(1);
    const WeightCollection before = other.net().weights();
    const Tensor history = other.history().copy();
    const std::string said = trouble([&] { restore_state(other, files.state, model); });
    CHECK(other.net().weights() == before);
    CHECK(other.history() == history);
    CHECK(other.iteration() == 1);
    return said;
  };
  const std::string name = files.state.string();
  CHECK(
      refused(make({.rule = adam()})) ==
      name + ": has a history of 4 blobs; the update rule \"adam\" keeps 2 for each of the net's 4 parameters");
  CHECK(refused(make({.rule = adamw()})) == name + ": is Caffe's, which has no update rule \"adamw\"");
  CHECK(
      refused(make({.momentum = 0.9}, small_net(5))) ==
      name + ": blob 0 of its history is [3, 2], and \"ip1.weights\" is [5, 2] in the net");
  CHECK(refused(make({.momentum = 0.9}), dir / "none") == (dir / "none").string() + ": there is no such file");
  {
    Net other(small_net(5));
    write_model(other, dir / "other");
    CHECK(refused(make({.momentum = 0.9}), dir / "other")
              .starts_with(
                  name + ": " + (dir / "other").string() + " does not fit net \"small\": blob 0 of layer \"ip1\""));
  }
  std::filesystem::remove(files.model);
  CHECK(
      refused(make({.momentum = 0.9})) == name + ": its weights are in \"" + files.model.string() +
                                              "\", which is neither there nor \"" + files.model.string() +
                                              "\"; say where it is");

  Solver other = make({.rule = adamw()});
  CHECK(trouble([&] {
          save_state(other, dir / "y", "m");
        }) == (dir / "y").string() + ": cannot be written: Caffe has no update rule \"adamw\"");
  CHECK(!std::filesystem::exists(dir / "y"));
}

TEST_CASE("files that are no states") {
  const auto read = [](const proto::SolverState& state) {
    const std::string bytes = state.SerializeAsString();
    return trouble([&] { parse_state("file", std::as_bytes(std::span(bytes))); });
  };
  proto::SolverState state;
  CHECK(read(state) == "file: names no iteration; is it a solver's state?");
  state.set_iter(-3);
  CHECK(read(state) == "file: is of iteration -3");
  state.set_iter(3);
  state.add_history()->mutable_shape()->add_dim(2);
  CHECK(read(state) == "file: history, blob 0: has shape [2], which is 2 numbers, and 0 are there");
}
