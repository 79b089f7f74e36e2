// An input is a round task without its magic, version and checksum, which are made right, or nothing would get past
// them. The first byte decides: 0 leaves all bytes to the fuzzer.

#include <cstdlib>

#include "sparknet/distributed/round_master.h"
#include "src/io/bytes.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;

namespace {

constexpr std::size_t head_bytes = 8 + 4, checksum_bytes = 4;

Bytes seed(std::vector<WorkerState> states, Dim count, int slots, DType dtype) {
  RoundTask task{
      .schema = 0x1234,
      .round = 3,
      .iteration = 150,
      .history = SolverHistory::Average,
      .weights = Tensor({count}, dtype).fill(0.5),
      .states = std::move(states)};
  for (int slot = 0; slot < slots; ++slot) task.slots.push_back(Tensor({count}, dtype).fill(slot));
  const std::vector<std::byte> encoded = encode(task);
  Bytes bytes = {1};
  for (const std::byte b : std::span(encoded).first(encoded.size() - checksum_bytes).subspan(head_bytes))
    bytes.push_back(static_cast<std::uint8_t>(b));
  return bytes;
}

std::vector<std::byte> whole(std::span<const std::byte> input) {
  detail::ByteWriter task;
  task.raw(std::as_bytes(std::span("SPKNTASK", 8)));
  task.number<std::uint32_t>(1);
  task.raw(input);
  task.number(detail::crc32(task.bytes()));
  return task.bytes();
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  plant_seeds(
      *argc,
      *argv,
      {seed({}, 0, 0, DType::F32),
       seed({{.worker = 0, .cursor = -1}}, 3, 0, DType::F32),
       seed({{.worker = 0, .cursor = 20, .passes = 5}, {.worker = 2, .cursor = 25, .passes = 5}}, 5, 2, DType::F64)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> input = std::as_bytes(std::span(data + 1, size - 1));
  const std::vector<std::byte> bytes = data[0] == 0 ? std::vector<std::byte>(input.begin(), input.end()) : whole(input);
  RoundTask task;
  try {
    task = decode_round_task(bytes);
  } catch (const DataError& error) {
    require(error.offset() >= 0 && static_cast<std::size_t>(error.offset()) <= bytes.size());
    return 0;
  }
  require(encode(task) == bytes);
  // What a worker makes of it can be sent back.
  Contribution made{.schema = task.schema, .round = task.round, .carries = task.carries, .states = task.states};
  made.rejected = static_cast<int>(made.states.size());
  require(decode(encode(made)).states == task.states);
  return 0;
}
