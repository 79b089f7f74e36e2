// An input is the u16 length of the header, the header and the tensors of a group's snapshot; what is around them is
// made right, or nothing would get past it. The first byte decides: 0 leaves the whole file to the fuzzer.

#include <cstdlib>

#include "src/distributed/center.h"
#include "src/distributed/group_snapshot.h"
#include "src/io/bytes.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;
using detail::GroupSnapshot;

namespace {

constexpr std::size_t prefix_bytes = 8 + 4 + 8;

Bytes seed(const GroupSnapshot& snapshot, std::size_t elements) {
  const std::vector<std::byte> header = snapshot.header();
  Bytes bytes = {1, static_cast<std::uint8_t>(header.size()), static_cast<std::uint8_t>(header.size() >> 8)};
  for (const std::byte b : header) bytes.push_back(static_cast<std::uint8_t>(b));
  bytes.resize(bytes.size() + elements * size_of(snapshot.dtype));
  return bytes;
}

std::vector<std::byte> whole(std::span<const std::byte> input) {
  detail::ByteWriter file;
  file.raw(std::as_bytes(std::span("SPKNGRUP", 8)));
  file.number<std::uint32_t>(1);
  file.number<std::uint64_t>(std::to_integer<std::size_t>(input[0]) | std::to_integer<std::size_t>(input[1]) << 8);
  file.raw(input.subspan(2));
  file.number(detail::crc32(file.bytes()));
  return file.bytes();
}

void require(bool condition) {
  if (!condition) std::abort();
}

void take_over(const std::vector<double>& numbers) {
  detail::Center center({.schedule = [] { return adaptive_tau(); }}, {}, Tensor(Shape(1)));
  try {
    center.set_numbers(numbers);
    require(center.round() >= 0 && center.next(0).max_steps > 0);
  } catch (const Error&) {
    require(center.round() == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const GroupSnapshot::Worker first{.present = true, .seed = 1, .passes = 9, .cursor = 20}, lost;
  const ParamInfo info{.layer = "ip", .name = "weights", .shape = {2, 3}};
  plant_seeds(
      *argc,
      *argv,
      {seed({.numbers = {1}}, 0),
       seed(
           {.rule = "sgd",
            .outer = "elastic average",
            .schedule = "constant",
            .own_weights = true,
            .slots = 1,
            .iteration = 10,
            .numbers = {2},
            .workers = {first, lost},
            .layout = {info},
            .arena = 16},
           5 * 16),
       seed(
           {.rule = "sgd",
            .outer = "slowmo",
            .schedule = "adaptive",
            .dtype = DType::F64,
            .history = SolverHistory::Average,
            .slots = 1,
            .iteration = 10,
            .numbers = {4, 2, 0.5, 2},
            .workers = {first},
            .layout = {info},
            .arena = 8,
            .outer_tensors = {{DType::F64, 8}}},
           3 * 8)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::span<const std::byte> input = std::as_bytes(std::span(data + 1, size - 1));
  const std::vector<std::byte> bytes = data[0] == 0 ? std::vector<std::byte>(input.begin(), input.end()) : whole(input);
  try {
    const std::span<const std::byte> header = detail::checked_header("input", bytes);
    require(header.data() == bytes.data() + prefix_bytes);
    const GroupSnapshot snapshot = GroupSnapshot::parse("input", header);
    snapshot.require_fits("input", snapshot);
    // Flags of any byte but 0 mean the same, so the header may come back otherwise, but no longer.
    const std::vector<std::byte> again = snapshot.header();
    require(again.size() == header.size() && GroupSnapshot::parse("input", again).header() == again);
    const int workers = static_cast<int>(snapshot.workers.size());
    for (const int group : {1, 2, workers, workers + 3})
      if (group > 0)
        for (const int rank : {0, group - 1}) require(snapshot.resumed(rank, group, 4).cursor >= -1);
    if (snapshot.numbers.size() == 4) take_over(snapshot.numbers);
  } catch (const DataError& error) {
    require(error.offset() >= 0 && static_cast<std::size_t>(error.offset()) <= bytes.size());
  }
  return 0;
}
