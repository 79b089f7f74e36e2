// An input is the body of a snapshot; the header and the checksum around it are made right, or nothing would get past
// them. The first byte decides: 0 leaves the whole file to the fuzzer.

#include <cstring>

#include "src/io/bytes.h"
#include "src/io/snapshot.h"

using namespace sparknet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> input = std::as_bytes(std::span(data + 1, size - 1));
  detail::ByteWriter file;
  if (data[0] == 0) {
    file.raw(input);
  } else {
    file.raw(std::as_bytes(std::span("SPKNSNAP", 8)));
    file.number<std::uint32_t>(1);
    file.number<std::uint64_t>(input.size());
    file.raw(input);
    file.number(detail::crc32(file.bytes()));
  }
  try {
    const detail::Snapshot snapshot = detail::parse_snapshot("input", file.bytes());
    for (const WeightCollection& slot : snapshot.history)
      if (slot.layout() != snapshot.weights.layout()) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
