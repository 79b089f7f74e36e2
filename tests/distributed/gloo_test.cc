// tests/distributed/run_ranks.sh -n 3 sparknet_gloo_tests
#include "sparknet/distributed/gloo.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "sparknet/sparknet.h"
#include "tests/distributed/processes.h"

using namespace sparknet;

namespace {

std::string line_of(const std::filesystem::path& file) {
  std::string line;
  while (!std::filesystem::exists(file)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::getline(std::ifstream(file), line);
  return line;
}

}  // namespace

std::unique_ptr<Communicator> join_processes(std::chrono::nanoseconds timeout) {
  const int rank = std::atoi(std::getenv("RANK")), size = std::atoi(std::getenv("SIZE"));
  const std::filesystem::path folder = std::getenv("MEETING");
  const auto all_gather = [&](const std::string& mine) {
    const std::filesystem::path file = folder / std::to_string(rank), making = folder / ("of " + file.stem().string());
    std::ofstream(making) << mine;
    std::filesystem::rename(making, file);
    std::vector<std::string> lines;
    for (int other = 0; other < size; ++other) lines.push_back(line_of(folder / std::to_string(other)));
    return lines;
  };
  return gloo_communicator(rank, size, all_gather, {.host = "127.0.0.1", .timeout = timeout});
}

TEST_CASE("what keeps members from finding each other is said") {
  const auto alone = [](const std::string& mine) { return std::vector<std::string>{mine}; };
  CHECK_THROWS_WITH_AS(gloo_communicator(2, 2, alone), "a group of 2 has no member 2", Error);
  CHECK_THROWS_WITH_AS(gloo_communicator(0, 2, alone), "a group of 2: 1 addresses came back", Error);
  const auto nonsense = [](const std::string& mine) { return std::vector<std::string>{mine, "- 7f00"}; };
  CHECK_THROWS_WITH_AS(
      gloo_communicator(0, 2, nonsense),
      "rank 0 of 2: what rank 1 sent is no address: \"- 7f00\"",
      Error);
  CHECK_THROWS_WITH_AS(
      gloo_communicator(0, 1, alone, {.host = "no.such.host.invalid"}),
      doctest::Contains("rank 0 of 1 cannot listen at \"no.such.host.invalid\": "),
      Error);
  CHECK_THROWS_WITH_AS(
      gloo_communicator(0, 1, alone, {.host = "203.0.113.1"}),
      "rank 0 of 1 cannot listen at \"203.0.113.1\": it is no address of this machine",
      Error);
  // A member whose own address came back as the other's: nobody answers there.
  const auto twice = [](const std::string& mine) { return std::vector<std::string>{mine, mine.substr(2) + " -"}; };
  CHECK_THROWS_WITH_AS(
      gloo_communicator(0, 2, twice, {.host = "127.0.0.1", .timeout = std::chrono::milliseconds(50)}),
      doctest::Contains("rank 0 of 2 has no connection to rank 1: "),
      Error);
}

/// Tells the members that are threads each other's lines.
AllGather all_gather_among(Communicator& threads) {
  return [&threads](const std::string& mine) {
    std::vector<std::string> lines;
    Tensor text(Shape{4096}, DType::U8);
    for (int root = 0; root < threads.size(); ++root) {
      if (root == threads.rank()) std::copy_n(mine.c_str(), mine.size() + 1, reinterpret_cast<char*>(text.raw()));
      threads.broadcast(text, root);
      lines.emplace_back(reinterpret_cast<const char*>(text.raw()));
    }
    return lines;
  };
}

TEST_CASE("a member that gives up is gone, and one that has left exchanges nothing") {
  run_on_threads(2, [](Communicator& threads) {
    const auto group = gloo_communicator(threads.rank(), 2, all_gather_among(threads), {.host = "127.0.0.1"});
    Tensor values(Shape{3});
    values.fill(threads.rank() + 1);
    group->all_reduce_sum(values);
    CHECK(values.get<float>(2) == 3);
    if (threads.rank() == 1) return group->abandon();
    CHECK_THROWS_WITH_AS(group->all_reduce_sum(values), doctest::Contains("rank 0 of 2: rank 1 is gone: "), Error);
  });
  run_on_threads(2, [](Communicator& threads) {
    const auto group = gloo_communicator(threads.rank(), 2, all_gather_among(threads), {.host = "127.0.0.1"});
    group->leave();
    group->leave();
    Tensor values(Shape{3});
    const std::string text = "rank " + std::to_string(threads.rank()) + " of 2: this member has left its group";
    CHECK_THROWS_WITH_AS(group->all_reduce_sum(values), text.c_str(), Error);
  });
}

// snippet: gloo
WeightCollection train_as_member(
    int rank, int size, const AllGather& all_gather, const NetParam& net, SourcePtr source) {
  const SolverParam param{.base_lr = 0.01, .momentum = 0.9, .max_iter = 200};
  // all_gather: gets this member's line, returns those of all, by files, a key-value store, whatever there is.
  const auto group = gloo_communicator(rank, size, all_gather, {.host = "127.0.0.1"});
  AveragingSolver solver(param, net, *group, {.round = {.max_steps = 10}}, {.threads = 1});
  solver.solve(source);
  return solver.weights();
}
// end

TEST_CASE("training over Gloo has the bits of threads") {
  const NetParam net(
      "lines",
      RDDLayer{"data", {4, 3}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"ip", {"data"}, {.num_output = 2}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  Tensor data(Shape{64, 3}), label(Shape{64}, DType::I32);
  for (Dim i = 0; i < 64; ++i) {
    for (Dim j = 0; j < 3; ++j) data.set<float>(static_cast<float>((i * 7 + j * 5) % 11), i, j);
    label.set<std::int32_t>(static_cast<std::int32_t>(i % 2), i);
  }
  const SourcePtr source = from_tensors({{"data", data}, {"label", label}});
  run_on_threads(3, [&](Communicator& threads) {
    const WeightCollection over_gloo = train_as_member(threads.rank(), 3, all_gather_among(threads), net, source);
    AveragingSolver solver(
        {.base_lr = 0.01, .momentum = 0.9, .max_iter = 200},
        net,
        threads,
        {.round = {.max_steps = 10}},
        {.threads = 1});
    solver.solve(source);
    CHECK(over_gloo.arena() == solver.weights().arena());
  });
}
