// docs/caffe.md shows the regions between `// snippet: NAME` and `// end`.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <string>

// snippet: classify
#include <sparknet/sparknet.h>

using namespace sparknet;

/// The probabilities that a net of Caffe's gives a batch of images.
Tensor classify(const std::string& prototxt, const std::string& caffemodel, const Tensor& images) {
  Net net(caffe::read_net(prototxt), {.phase = Phase::Test});
  const caffe::CopyReport report = caffe::copy_weights(net, caffemodel);
  std::puts(to_string(report).c_str());  // what was copied, and what the model and the net do not have of each other
  net.set_input("data", images);
  net.forward();
  return net.blob("prob").copy();
}
// end

// snippet: go_on
/// caffe train --solver=... --snapshot=...
void go_on(const std::string& solver_prototxt, const std::string& solverstate) {
  const caffe::SolverFile file = caffe::read_solver(solver_prototxt);
  Solver solver(file.solver, file.train, {.level = file.train_state.level, .stages = file.train_state.stages});
  caffe::restore_state(solver, solverstate);  // the weights too, of the caffemodel that it names
  solver.solve();
  caffe::write_snapshot(solver, file.solver.snapshot_prefix);
}
// end

// snippet: for_caffe
void write_for_caffe(const Net& net, const std::string& name) {
  caffe::write_net(net.param(), name + ".prototxt");
  caffe::write_model(net, name + ".caffemodel");
}
// end

#include "tests/temp_dir.h"

TEST_CASE("what docs/caffe.md shows runs") {
  const TempDir dir;
  const Net net(NetParam(
      "small",
      RDDLayer{"data", {2, 5}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 3}},
      SoftmaxLayer{"prob", {"ip"}}));
  write_for_caffe(net, (dir / "small").string());
  const Tensor images = Tensor::from({2, 5}, {1.F, 2.F, 3.F, 4.F, 5.F, 0.F, 0.F, 0.F, 0.F, 0.F});
  const Tensor prob = classify((dir / "small.prototxt").string(), (dir / "small.caffemodel").string(), images);
  CHECK(prob.shape() == Shape{2, 3});
  CHECK(prob.get<float>(1, 0) == doctest::Approx(1.0 / 3));
  CHECK(prob.get<float>(0, 0) != doctest::Approx(1.0 / 3));

  std::ofstream(dir / "solver.prototxt") << R"(
base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 4 solver_mode: CPU snapshot_prefix: ")"
                                         << (dir / "run").string() << R"("
net_param {
  layer { name: "data" type: "DummyData" top: "data" top: "label"
    dummy_data_param { shape { dim: 2 dim: 5 } shape { dim: 2 dim: 3 } data_filler { type: "gaussian" } } }
  layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
    inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
})";
  const caffe::SolverFile file = caffe::read_solver(dir / "solver.prototxt");
  Solver solver(file.solver, file.train);
  solver.step(2);
  const caffe::SnapshotFiles half = caffe::write_snapshot(solver, (dir / "run").string());
  go_on((dir / "solver.prototxt").string(), half.state.string());
  CHECK(std::filesystem::exists(dir / "run_iter_4.caffemodel"));
  solver.step(2);
  Net last(file.train);
  caffe::copy_weights(last, dir / "run_iter_4.caffemodel");
  CHECK(last.weights() == solver.net().weights());
}
