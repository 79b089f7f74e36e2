// An input is the body of the header and then the chunks without their checksums, each with its u16 length before it;
// the rest is made right, or nothing would get past it. The first byte decides: 0 leaves all bytes to the fuzzer.

#include <cstdlib>

#include "sparknet/distributed/contribution.h"
#include "src/io/bytes.h"
#include "tests/fuzz/seeds.h"

using namespace sparknet;

namespace {

constexpr std::size_t head_bytes = 16, checksum_bytes = 4;

Bytes seed(int workers, std::vector<Dim> counts, DType dtype, Codec codec, int slices = 1) {
  Contribution all;
  for (int worker = 0; worker < workers; ++worker) {
    Contribution part{
        .carries = Carries::Differences,
        .workers = 1,
        .weight = 1,
        .unit = 1,
        .states = {{.worker = worker}}};
    for (const Dim count : counts) part.sums.push_back(Tensor({count}, dtype).fill(0.5 + worker));
    all.merge(part);
  }
  Bytes bytes = {1};
  bool is_header = true;
  encode(
      slice(all, slices / 2, slices),
      {.codec = codec, .elements_in_chunk = 300},
      [&](std::span<const std::byte> piece) {
        piece = piece.first(piece.size() - checksum_bytes).subspan(is_header ? head_bytes : 0);
        bytes.push_back(static_cast<std::uint8_t>(piece.size()));
        bytes.push_back(static_cast<std::uint8_t>(piece.size() >> 8));
        for (const std::byte b : piece) bytes.push_back(static_cast<std::uint8_t>(b));
        is_header = false;
      });
  return bytes;
}

std::vector<std::byte> whole(std::span<const std::byte> input) {
  std::vector<std::byte> all;
  bool is_header = true;
  while (input.size() >= 2) {
    const std::size_t size = std::min(
        std::to_integer<std::size_t>(input[0]) | std::to_integer<std::size_t>(input[1]) << 8,
        input.size() - 2);
    detail::ByteWriter piece;
    if (is_header) {
      piece.raw(std::as_bytes(std::span("SPKNCONT", 8)));
      piece.number<std::uint32_t>(2);
      piece.number(static_cast<std::uint32_t>(size));
    }
    piece.raw(input.subspan(2, size));
    piece.number(detail::crc32(piece.bytes()));
    all.insert(all.end(), piece.bytes().begin(), piece.bytes().end());
    input = input.subspan(2 + size);
    is_header = false;
  }
  return all;
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  plant_seeds(
      *argc,
      *argv,
      {seed(0, {}, DType::F32, Codec::Exact),
       seed(1, {3}, DType::F32, Codec::Exact),
       seed(2, {301, 2}, DType::F64, Codec::Exact),
       seed(1, {301, 2}, DType::F32, Codec::BF16),
       seed(3, {601}, DType::F32, Codec::Int8),
       seed(0, {}, DType::F32, Codec::Exact, 3),
       seed(2, {1000, 300}, DType::F32, Codec::Exact, 3),
       seed(1, {700, 5}, DType::F32, Codec::Int8, 2)});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes;
  const std::span<const std::byte> input = std::as_bytes(std::span(data + 1, size - 1));
  if (data[0] == 0)
    bytes.assign(input.begin(), input.end());
  else
    bytes = whole(input);
  Contribution found;
  try {
    found = decode(bytes);
  } catch (const DataError& error) {
    require(error.offset() >= 0 && static_cast<std::size_t>(error.offset()) <= bytes.size());
    return 0;
  }
  std::size_t decoded = 0;
  for (const Tensor& sum : found.sums) decoded += sum.bytes();
  require(decoded <= 4 * bytes.size());
  for (std::size_t i = 0; i < found.sums.size(); ++i) require(found.mean(i).count() == found.sums[i].count());
  const std::vector<std::byte> again = encode(found);
  require(encode(decode(again)) == again);
  if (found.slices == 1) {
    ContributionJoiner joiner;
    for (int i = 3; i-- > 0;) joiner.add(decode(encode(slice(found, i, 3))));
    require(encode(joiner.take()) == again);
  }
  try {
    found.merge(decode(again));
    require(found.states.empty());  // or every worker is there twice
  } catch (const Error&) {
  }
  return 0;
}
