#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <limits>

#include "sparknet/layers/convolution.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/solver.h"
#include "src/io/snapshot.h"
#include "tests/message_of.h"
#include "tests/nets.h"
#include "tests/temp_dir.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

constexpr std::int64_t total = 23, middle = 9;

Solver make_solver(NetParam net, std::uint64_t seed = 1) {
  Solver solver(
      {.base_lr = 0.01, .momentum = 0.9, .weight_decay = 0.001, .average_loss = 4},
      std::move(net),
      {.threads = 2, .seed = seed});
  solver.set_training_data(
      random_examples(33, {2, 8, 8}, 1),
      {.shuffle = true, .seed = 6, .transforms = {{"data", {.scale = 0.5, .mirror = true}}}});
  return solver;
}

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

}  // namespace

TEST_CASE("a resumed run ends with the bits of one that never stopped") {
  const TempDir dir;
  Solver whole = make_solver(branching_net(5));  // with dropout, shuffling, mirroring and a prefetch thread
  whole.step(middle);
  whole.snapshot(dir / "middle.snap");
  const double next = whole.step();
  const double last = whole.step(total - middle - 1);
  whole.snapshot(dir / "whole.snap");

  Solver resumed = make_solver(branching_net(5));
  resumed.step(3);  // what was there before does not matter
  resumed.restore(dir / "middle.snap");
  CHECK(resumed.iteration() == middle);
  CHECK(resumed.step() == next);  // with the losses before the snapshot smoothed in
  CHECK(resumed.step(total - middle - 1) == last);
  CHECK(resumed.net().weights() == whole.net().weights());
  CHECK(resumed.history() == whole.history());
  resumed.snapshot(dir / "resumed.snap");
  CHECK(read(dir / "resumed.snap") == read(dir / "whole.snap"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 3);  // nothing temporary is left
}

TEST_CASE("no torn or damaged snapshot loads, and a refused one changes nothing") {
  const TempDir dir;
  Solver solver = make_solver(branching_net(5));
  solver.step(2);
  solver.snapshot(dir / "good.snap");
  const std::string good = read(dir / "good.snap");
  const WeightCollection before = solver.net().weights();
  const auto refuse = [&](const std::string& content) {
    write(dir / "bad.snap", content);
    CHECK_THROWS_AS(solver.restore(dir / "bad.snap"), DataError);
  };
  for (std::size_t size = 0; size < 300 && size < good.size(); ++size) refuse(good.substr(0, size));
  for (std::size_t size = 300; size < good.size(); size += 97) refuse(good.substr(0, size));
  refuse(good.substr(0, good.size() - 1));
  refuse(good + "x");
  for (std::size_t at = 0; at < good.size(); at += 13) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    refuse(bad);
  }
  CHECK(solver.net().weights() == before);
  solver.restore(dir / "good.snap");
}

TEST_CASE("what a refused snapshot says") {
  const TempDir dir;
  Solver solver = make_solver(branching_net(5));
  solver.snapshot(dir / "a.snap");
  const std::string name = (dir / "a.snap").string();

  NetParam wider = branching_net(5);
  wider.layers[2] = ConvolutionLayer{"conv", {"data"}, {.kernel = 5, .num_output = 6, .pad = 2}};
  CHECK(
      message_of<DataError>([&] { make_solver(wider).restore(dir / "a.snap"); }) ==
      name +
          ": weights do not fit net \"branches\": \"conv.weights\" is [6, 2, 3, 3] there and [6, 2, 5, 5] in the net\n"
          "  to train this layer from scratch, give it another name");
  CHECK(message_of<DataError>([&] {
          make_solver(branching_net(5), 2).restore(dir / "a.snap");
        }) == name + ": is of a run with seed 1, and this one has seed 2");
  CHECK(message_of<DataError>([&] {
          solver.restore(dir / "none.snap");
        }) == (dir / "none.snap").string() + ": there is no such file");
  CHECK(message_of<DataError>([&] {
          solver.restore(dir.path());
        }).find("this is a folder, and a file is wanted") != std::string::npos);
  write(dir / "b.snap", "PK\x03\x04 something else");
  CHECK(message_of<DataError>([&] {
          solver.restore(dir / "b.snap");
        }) == (dir / "b.snap").string() + ", byte 0: a snapshot begins with \"SPKNSNAP\"; this file does not");
  const std::string good = read(dir / "a.snap");
  write(dir / "c.snap", good.substr(0, 1000));
  CHECK(
      message_of<DataError>([&] { solver.restore(dir / "c.snap"); }) ==
      (dir / "c.snap").string() + ", byte 12: the body is said to have " + std::to_string(good.size() - 24) +
          " bytes, and the file has 1000; it was cut off or added to");
  detail::Snapshot endless = detail::read_snapshot(dir / "a.snap");
  const double lr_mult = std::numeric_limits<double>::infinity();
  endless.weights = WeightCollection(
      std::make_shared<const std::vector<ParamInfo>>(
          1,
          ParamInfo{.layer = "ip", .name = "w", .shape = {1}, .lr_mult = lr_mult}),
      1,
      DType::F32);
  endless.history.clear();
  detail::write_snapshot(dir / "d.snap", endless);
  CHECK(message_of<DataError>([&] {
          detail::read_snapshot(dir / "d.snap");
        }).find("a multiplier is not finite") != std::string::npos);
  CHECK(message_of<DataError>([&] {
          solver.snapshot(dir / "no folder" / "x.snap");
        }) == (dir / "no folder" / "x.snap").string() + ": cannot be created: No such file or directory");
}

TEST_CASE("solve writes snapshots by their names") {
  const TempDir dir;
  Solver solver(
      {.max_iter = 10, .snapshot = 4, .snapshot_prefix = (dir / "run").string()},
      branching_net(5),
      {.threads = 1});
  solver.set_training_data(random_examples(33, {2, 8, 8}, 1));
  std::vector<std::string> files;
  solver.set_callbacks(
      {.snapshotted = [&](const std::filesystem::path& f) { files.push_back(f.filename().string()); }});
  solver.solve();
  CHECK(files == std::vector<std::string>{"run_iter_4.snap", "run_iter_8.snap", "run_iter_10.snap"});
  Solver again(
      {.max_iter = 10, .snapshot = 4, .snapshot_prefix = (dir / "again").string()},
      branching_net(5),
      {.threads = 1});
  again.set_training_data(random_examples(33, {2, 8, 8}, 1));
  again.restore(dir / "run_iter_8.snap");
  again.solve();
  CHECK(again.net().weights() == solver.net().weights());
}
