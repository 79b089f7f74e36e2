// tests/distributed/run_ranks.sh -n 3 sparknet_gloo_tests
#include "sparknet/distributed/gloo.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "sparknet/error.h"
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
  // A member whose own address came back as the other's: nobody answers there.
  const auto twice = [](const std::string& mine) { return std::vector<std::string>{mine, mine.substr(2) + " -"}; };
  CHECK_THROWS_WITH_AS(
      gloo_communicator(0, 2, twice, {.host = "127.0.0.1", .timeout = std::chrono::milliseconds(50)}),
      doctest::Contains("rank 0 of 2 has no connection to rank 1: "),
      Error);
}

TEST_CASE("members that are threads, one of which gives up") {
  run_on_threads(2, [](Communicator& threads) {
    std::vector<std::string> lines(2);
    const auto all_gather = [&](const std::string& mine) {
      Tensor text(Shape{4096}, DType::U8);
      for (int root = 0; root < 2; ++root) {
        if (root == threads.rank()) std::copy_n(mine.c_str(), mine.size() + 1, reinterpret_cast<char*>(text.raw()));
        threads.broadcast(text, root);
        lines[static_cast<std::size_t>(root)] = reinterpret_cast<const char*>(text.raw());
      }
      return lines;
    };
    const auto group = gloo_communicator(threads.rank(), 2, all_gather, {.host = "127.0.0.1"});
    Tensor values(Shape{3});
    values.fill(threads.rank() + 1);
    group->all_reduce_sum(values);
    CHECK(values.get<float>(2) == 3);
    if (threads.rank() == 1) return group->abandon();
    CHECK_THROWS_WITH_AS(group->all_reduce_sum(values), doctest::Contains("rank 0 of 2: rank 1 is gone: "), Error);
  });
}
