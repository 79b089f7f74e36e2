#include <doctest/doctest.h>

#include <fstream>

#include "sparknet/caffe/prototxt.h"
#include "sparknet/sparknet.h"
#include "src/caffe/catalog.h"
#include "tests/temp_dir.h"
#include "tests/test_data.h"

using namespace sparknet;
using namespace sparknet::caffe;

namespace {

const std::string small_net = "name: 'n' layer { name: 'x' type: 'Input' input_param { shape { dim: 1 } } }";
const std::string head = "net_param { " + small_net + " } base_lr: 0.01 lr_policy: 'fixed'\n";

std::string trouble(const std::string& text) {
  try {
    parse_solver(text, "solver.prototxt");
  } catch (const PrototxtError& error) {
    return error.what();
  }
  return "none";
}

/// What is written is read as the same.
SolverFile again(const SolverFile& solver, const std::filesystem::path& folder = {}) {
  const std::string text = to_prototxt(solver);
  CAPTURE(text);
  SolverFile read = parse_solver(text, "again.prototxt", folder);
  CHECK(to_prototxt(read) == text);
  CHECK(read.train == solver.train);
  CHECK(read.tests == solver.tests);
  CHECK(read.train_state == solver.train_state);
  CHECK(read.test_states == solver.test_states);
  CHECK(read.test_iter == solver.test_iter);
  CHECK(read.solver.lr_policy == solver.solver.lr_policy);
  CHECK(read.solver.base_lr == solver.solver.base_lr);
  CHECK(read.solver.momentum == solver.solver.momentum);
  CHECK(read.momentum == solver.momentum);
  CHECK(read.solver.weight_decay == solver.solver.weight_decay);
  return read;
}

}  // namespace

TEST_CASE("a solver's numbers are read") {
  const SolverFile file = again(parse_solver(head + R"(
test_iter: 7 test_interval: 500 test_compute_loss: true test_initialization: false
display: 100 average_loss: 3 max_iter: 10000 iter_size: 2 momentum: 0.9 weight_decay: 0.0005
regularization_type: "L1" clip_gradients: 35 snapshot: 5000 snapshot_prefix: "examples/lenet" snapshot_diff: true
snapshot_format: HDF5 solver_mode: CPU device_id: 1 random_seed: 1701 debug_info: true snapshot_after_train: false
layer_wise_reduce: false weights: "a" weights: "b"
)"));
  const SolverParam& s = file.solver;
  CHECK(s.base_lr == 0.01);
  CHECK(std::holds_alternative<lr_policy::Fixed>(s.lr_policy));
  CHECK(s.rule == nullptr);
  CHECK(s.momentum == 0.9);
  CHECK(s.weight_decay == 0.0005);
  CHECK(s.regularization == Regularization::L1);
  CHECK(s.max_iter == 10000);
  CHECK(s.iter_size == 2);
  CHECK(s.clip_gradients == 35);
  CHECK(s.average_loss == 3);
  CHECK(s.test_interval == 500);
  CHECK(s.test_iter == 7);
  CHECK_FALSE(s.test_initialization);
  CHECK(s.snapshot == 5000);
  CHECK(s.snapshot_prefix == "examples/lenet");
  CHECK(s.display == 100);
  CHECK(file.test_compute_loss);
  CHECK(file.snapshot_diff);
  CHECK(file.snapshot_format == SnapshotFormat::HDF5);
  CHECK_FALSE(file.snapshot_after_train);
  CHECK(file.solver_mode == SolverMode::CPU);
  CHECK(file.device_id == 1);
  CHECK(file.random_seed == 1701);
  CHECK(file.debug_info);
  CHECK_FALSE(file.layer_wise_reduce);
  CHECK(file.weights == std::vector<std::string>{"a", "b"});
  CHECK(file.tests == std::vector<NetParam>{file.train});
}

TEST_CASE("what a solver does not say is Caffe's default") {
  const SolverFile file = again(parse_solver(head));
  CHECK(file.type == "SGD");
  CHECK(file.solver.clip_gradients == -1);
  CHECK(file.solver.average_loss == 1);
  CHECK(file.solver.test_initialization);
  CHECK(file.snapshot_format == SnapshotFormat::BinaryProto);
  CHECK(file.solver_mode == SolverMode::GPU);
  CHECK(file.random_seed == -1);
  CHECK(file.tests.empty());
}

TEST_CASE("every policy is read") {
  const auto policy = [](const std::string& text) {
    return again(parse_solver("net_param { " + small_net + " } base_lr: 0.1 lr_policy: " + text)).solver.lr_policy;
  };
  CHECK(policy("'fixed'") == LrPolicy(lr_policy::Fixed{}));
  CHECK(policy("'step' gamma: 0.1 stepsize: 9") == LrPolicy(lr_policy::Step{0.1, 9}));
  CHECK(policy("'exp' gamma: 0.9") == LrPolicy(lr_policy::Exp{0.9}));
  CHECK(policy("'inv' gamma: 0.0001 power: 0.75") == LrPolicy(lr_policy::Inv{0.0001, 0.75}));
  CHECK(policy("'multistep' gamma: 0.5 stepvalue: 3 stepvalue: 5") == LrPolicy(lr_policy::MultiStep{0.5, {3, 5}}));
  CHECK(policy("'poly' power: 2") == LrPolicy(lr_policy::Poly{2}));
  CHECK(policy("'sigmoid' gamma: -0.2 stepsize: 4") == LrPolicy(lr_policy::Sigmoid{-0.2, 4}));
}

TEST_CASE("every type is read, old ones too") {
  const auto rule = [](const std::string& text) {
    const SolverFile file = again(parse_solver(head + text));
    return file.solver.rule ? std::string(file.solver.rule->name()) : "none";
  };
  CHECK(rule("type: 'SGD' momentum: 0.9") == "none");
  CHECK(rule("type: 'Nesterov' momentum: 0.9") == "nesterov");
  CHECK(rule("type: 'AdaGrad' delta: 1e-6") == "adagrad");
  CHECK(rule("type: 'RMSProp' rms_decay: 0.98") == "rmsprop");
  CHECK(rule("type: 'AdaDelta' momentum: 0.95 delta: 1e-6") == "adadelta");
  CHECK(rule("type: 'Adam' momentum: 0.9 momentum2: 0.99") == "adam");
  CHECK(rule("type: 'AdamW' momentum: 0.9") == "adamw");
  CHECK(rule("solver_type: ADAGRAD") == "adagrad");
}

TEST_CASE("nets and states as Caffe counts them") {
  const TempDir dir;
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(dir / name) << text; };
  std::filesystem::create_directories(dir / "a" / "b");
  write("both.prototxt", small_net);
  write("a/b/test.prototxt", "name: 'test'");
  write("a/b/solver.prototxt", R"(
net: "somewhere/else/both.prototxt" net: "both.prototxt")");
  CHECK_THROWS_AS(read_solver(dir / "a" / "b" / "solver.prototxt"), PrototxtError);
  write("a/b/solver.prototxt", R"(
net: "both.prototxt" test_net: "somewhere/test.prototxt" test_net_param { name: "inline" state { stage: "s" level: 2 } }
test_iter: 1 test_iter: 2 test_iter: 3 test_iter: 4 test_interval: 10 base_lr: 1 lr_policy: "fixed"
train_state { level: 3 stage: "t" }
test_state { stage: "u" } test_state { } test_state { phase: TRAIN } test_state { level: 5 }
)");
  const SolverFile file = again(read_solver(dir / "a" / "b" / "solver.prototxt"), dir / "a" / "b");
  CHECK(file.train.name == "n");
  REQUIRE(file.tests.size() == 4);
  CHECK(file.tests[0].name == "inline");
  CHECK(file.tests[1].name == "test");
  CHECK(file.tests[2] == file.train);
  CHECK(file.tests[3] == file.train);
  CHECK(file.train_state == NetState(Phase::Train, 3, {"t"}));
  CHECK(file.test_states[0] == NetState(Phase::Test, 2, {"s", "u"}));
  CHECK(file.test_states[1] == NetState(Phase::Test));
  CHECK(file.test_states[2] == NetState(Phase::Train));
  CHECK(file.test_states[3] == NetState(Phase::Test, 5));
  CHECK(file.solver.test_iter == 1);
  write_solver(file, dir / "a" / "b" / "copy.prototxt");
  CHECK(read_solver(dir / "a" / "b" / "copy.prototxt").tests == file.tests);

  // Layers of nets in a solver have its lines.
  const SolverFile nets = parse_solver(
      "train_net_param {\n name: 'a'\n layer { name: 'x' type: 'Input' input_param { shape { dim: 1 } } } }\n"
      "test_net_param { name: 'b' } test_iter: 3 test_interval: 1 lr_policy: 'fixed'");
  again(nets);
  CHECK(nets.train.layers[0].where().line == 3);
  CHECK(nets.tests[0].name == "b");
}

TEST_CASE("a solver without nets, for programs that have theirs otherwise") {
  const std::string numbers =
      "base_lr: 0.1\nlr_policy: 'step' gamma: 0.5 stepsize: 7\ntype: 'Adam' momentum: 0.8\ntest_iter: 3 test_iter: 4 "
      "test_interval: 6 test_initialization: false display: 8 average_loss: 9 max_iter: 10 iter_size: 11 "
      "weight_decay: 0.12 regularization_type: 'L1' clip_gradients: 13 snapshot: 14 snapshot_prefix: 'p'";
  const SolverParam solver = parse_solver_param(numbers);
  CHECK(solver.test_iter == 3);
  CHECK(solver.rule->name() == "adam");
  CHECK(std::get<lr_policy::Step>(solver.lr_policy).stepsize == 7);
  const SolverParam with_net = parse_solver("net_param { } " + numbers).solver;
  CHECK(solver.base_lr == 0.1);
  CHECK(solver.base_lr == with_net.base_lr);
  CHECK(solver.lr_policy == with_net.lr_policy);
  CHECK(solver.momentum == with_net.momentum);
  CHECK(solver.weight_decay == with_net.weight_decay);
  CHECK(solver.regularization == with_net.regularization);
  CHECK(solver.max_iter == with_net.max_iter);
  CHECK(solver.iter_size == with_net.iter_size);
  CHECK(solver.clip_gradients == with_net.clip_gradients);
  CHECK(solver.average_loss == with_net.average_loss);
  CHECK(solver.test_iter == with_net.test_iter);
  CHECK(solver.test_interval == with_net.test_interval);
  CHECK(solver.test_initialization == with_net.test_initialization);
  CHECK(solver.snapshot == with_net.snapshot);
  CHECK(solver.snapshot_prefix == with_net.snapshot_prefix);
  CHECK(solver.display == with_net.display);

  for (const std::string net :
       {"net: 'x'",
        "net_param { }",
        "train_net: 'x'",
        "train_net_param { }",
        "test_net: 'x'",
        "test_net_param { }",
        "train_state { level: 1 }",
        "test_state { }"}) {
    CAPTURE(net);
    const std::string field = net.substr(0, net.find_first_of(": "));
    CHECK_THROWS_WITH_AS(
        parse_solver_param(numbers + "\n  " + net, "mine"),
        ("mine:5:3: " + field + " is given, and the net comes from elsewhere here").c_str(),
        PrototxtError);
  }
  CHECK_THROWS_WITH_AS(
      parse_solver_param("lr_policy: 'fixed'\ntest_iter: 1 test_iter: 0", "mine"),
      "mine:2:14: test_iter is 0; a test has a batch at least",
      PrototxtError);
  CHECK_THROWS_WITH_AS(
      parse_solver_param("base_lr: 1"),
      "prototxt: lr_policy is not given; \"fixed\" keeps base_lr as it is",
      PrototxtError);
  CHECK_THROWS_WITH_AS(
      parse_solver_param("lr_policy: 'fixed' tpye: 'SGD'"),
      "prototxt:1:24: SolverParameter has no field \"tpye\"; did you mean \"type\"?",
      PrototxtError);
}

TEST_CASE("solvers that make no sense are refused") {
  CHECK(
      trouble("net_param { } base_lr: 1") ==
      "solver.prototxt: lr_policy is not given; \"fixed\" keeps base_lr as it is");
  CHECK(
      trouble("net_param { }\nlr_policy: 'stop'") ==
      "solver.prototxt:2:1: there is no lr_policy \"stop\"; did you mean \"step\"?");
  CHECK(trouble("net_param { } lr_policy: 'exp'") == "solver.prototxt:1:15: lr_policy \"exp\" needs gamma");
  CHECK(trouble(head + "type: 'Adamm'") == "solver.prototxt:2:1: there is no solver \"Adamm\"; did you mean \"Adam\"?");
  CHECK(trouble(head + "type: 'AdaGrad' momentum: 0.5") == "solver.prototxt:2:17: AdaGrad has no momentum");
  CHECK(
      trouble(head + "regularization_type: 'L3'") ==
      "solver.prototxt:2:1: regularization_type is \"L3\"; there are L1 and L2");
  CHECK(
      trouble("lr_policy: 'fixed'") ==
      "solver.prototxt: has 0 nets to train; one of net, net_param, train_net and train_net_param is needed");
  CHECK(
      trouble("lr_policy: 'fixed'\nnet: 'no/such/net'") ==
      "solver.prototxt:2:1: net \"no/such/net\" is not there, neither from the folder the program runs in nor from "
      "that "
      "of the solver");
  CHECK(
      trouble(head + "test_iter: 1 test_iter: -3 test_interval: 1") ==
      "solver.prototxt:2:14: test_iter is -3; a test has a batch at least");
  CHECK(trouble(head + "test_iter: 1") == "solver.prototxt: has 1 test nets and no test_interval");
  CHECK(
      trouble("train_net_param { } lr_policy: 'fixed' test_iter: 1") ==
      "solver.prototxt: has 0 test nets and 1 of test_iter, one for each");
  CHECK(
      trouble(head + "test_iter: 1 test_state { } test_state { } test_interval: 1") ==
      "solver.prototxt:2:14: there are 2 of test_state and 1 test nets");
  CHECK(
      trouble(head + "tpye: 'SGD'") ==
      "solver.prototxt:2:5: SolverParameter has no field \"tpye\"; did you mean \"type\"?");
  SolverFile other = parse_solver(head);
  other.solver.rule = adam();
  CHECK_THROWS_WITH_AS(to_prototxt(other), "the solver's type is \"SGD\" and its rule is adam", Error);
}

TEST_SUITE("data") {
  TEST_CASE("Caffe's own solvers are read and come back as they were") {
    int count = 0;
    for (const char* folder : {"caffe_examples", "lenet_v2"}) {
      const auto dir = test_data(folder);
      if (!dir) return;
      for (const auto& entry : std::filesystem::directory_iterator(*dir)) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".prototxt" || name.find("solver") == std::string::npos) continue;
        CAPTURE(name);
        ++count;
        if (caffes_type("DataLayer").empty()) {
          CHECK_THROWS_WITH_AS(
              read_solver(entry.path()),
              doctest::Contains("there is no layer of type \"Data\""),
              PrototxtError);
          continue;
        }
        const SolverFile file = again(read_solver(entry.path()), *dir);
        CHECK(file.tests.size() == file.test_iter.size());
        CHECK(file.solver.max_iter > 0);
      }
    }
    CHECK(count == 11);
  }
}
