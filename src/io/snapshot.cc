#include "src/io/snapshot.h"

#include <cmath>
#include <cstring>
#include <string_view>

#include "src/io/atomic_file.h"
#include "src/io/bytes.h"
#include "src/io/file.h"

namespace sparknet::detail {
namespace {

constexpr std::string_view magic = "SPKNSNAP";
constexpr std::uint32_t version = 1;
constexpr std::uint32_t max_slots = 64;
constexpr std::size_t header_bytes = 8 + 4 + 8;

void write_values(ByteWriter& out, const WeightCollection& weights) {
  for (std::size_t i = 0; i < weights.layout().size(); ++i) {
    const Tensor values = weights.tensor(i);
    out.raw({values.raw(), values.bytes()});
  }
}

void read_values(ByteReader& in, WeightCollection& weights) {
  for (std::size_t i = 0; i < weights.layout().size(); ++i) {
    Tensor values = weights.tensor(i);
    std::memcpy(values.raw(), in.raw(values.bytes(), "the values of a parameter").data(), values.bytes());
  }
}

Snapshot read_body(ByteReader& in) {
  Snapshot snapshot;
  snapshot.rule = in.text("the update rule's name");
  const auto dtype = static_cast<DType>(in.number<std::uint8_t>("the element type"));
  if (dtype != DType::F32 && dtype != DType::F64) in.fail("the element type is neither f32 nor f64");
  snapshot.iteration = in.number<std::int64_t>("the iteration");
  snapshot.seed = in.number<std::uint64_t>("the seed");
  snapshot.passes = in.number<std::uint64_t>("the passes");
  snapshot.cursor = in.number<std::int64_t>("the data cursor");
  for (auto n = in.number<std::uint64_t>("the losses"); n > 0; --n)
    snapshot.losses.push_back(in.number<double>("the losses"));
  const auto slots = in.number<std::uint32_t>("the slots");
  if (slots > max_slots) in.fail("has " + std::to_string(slots) + " slots of history; no update rule has so many");

  Dim end = 0;
  std::uint64_t bytes = 0;
  std::vector<ParamInfo> layout = read_layout(in, end);
  // Checked before anything of that size is allocated.
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(end), size_of(dtype) * (1 + std::uint64_t{slots}), &bytes) ||
      bytes != in.left())
    in.fail("the parameters' values take up another number of bytes than their shapes say");

  const auto shared = std::make_shared<const std::vector<ParamInfo>>(std::move(layout));
  snapshot.weights = WeightCollection(shared, end, dtype);
  read_values(in, snapshot.weights);
  for (std::uint32_t s = 0; s < slots; ++s) read_values(in, snapshot.history.emplace_back(shared, end, dtype));
  return snapshot;
}

}  // namespace

void write_layout(ByteWriter& out, const std::vector<ParamInfo>& layout) {
  out.number<std::uint64_t>(layout.size());
  for (const ParamInfo& info : layout) {
    out.text(info.layer);
    out.text(info.name);
    out.number(static_cast<std::uint32_t>(info.shape.size()));
    for (const Dim dim : info.shape) out.number(dim);
    out.number(info.lr_mult);
    out.number(info.decay_mult);
  }
}

std::vector<ParamInfo> read_layout(ByteReader& in, Dim& end) {
  end = 0;
  std::vector<ParamInfo> layout;
  for (auto n = in.number<std::uint64_t>("the parameters"); n > 0; --n) {
    ParamInfo info;
    info.layer = in.text("a layer's name");
    info.name = in.text("a parameter's name");
    const auto rank = in.number<std::uint32_t>("a shape");
    if (rank > Shape::max_rank) in.fail("a parameter has " + std::to_string(rank) + " dimensions");
    for (std::uint32_t d = 0; d < rank; ++d) info.shape.push_back(in.number<std::int64_t>("a shape"));
    if (!is_possible(info.shape)) in.fail("a parameter has an impossible shape");
    info.offset = end;
    info.lr_mult = in.number<double>("a multiplier");
    info.decay_mult = in.number<double>("a multiplier");
    if (!std::isfinite(info.lr_mult) || !std::isfinite(info.decay_mult)) in.fail("a multiplier is not finite");
    if (__builtin_add_overflow(end, info.shape.count(), &end)) in.fail("a parameter has an impossible shape");
    layout.push_back(std::move(info));
  }
  return layout;
}

void write_snapshot(const std::filesystem::path& file, const Snapshot& snapshot) {
  ByteWriter body;
  body.text(snapshot.rule);
  body.number(static_cast<std::uint8_t>(snapshot.weights.dtype()));
  body.number(snapshot.iteration);
  body.number(snapshot.seed);
  body.number(snapshot.passes);
  body.number(snapshot.cursor);
  body.number<std::uint64_t>(snapshot.losses.size());
  for (const double loss : snapshot.losses) body.number(loss);
  body.number(static_cast<std::uint32_t>(snapshot.history.size()));
  write_layout(body, snapshot.weights.layout());
  write_values(body, snapshot.weights);
  for (const WeightCollection& slot : snapshot.history) write_values(body, slot);

  ByteWriter all;
  all.raw(std::as_bytes(std::span(magic)));
  all.number(version);
  all.number<std::uint64_t>(body.bytes().size());
  all.raw(body.bytes());
  all.number(crc32(all.bytes()));
  write_atomically(file, all.bytes());
}

Snapshot parse_snapshot(const std::string& file, std::span<const std::byte> bytes) {
  const auto fail = [&](std::size_t offset, const std::string& why) {
    return DataError(file, static_cast<std::int64_t>(offset), why);
  };
  if (bytes.size() >= group_magic.size() && std::memcmp(bytes.data(), group_magic.data(), group_magic.size()) == 0)
    throw fail(0, "is a snapshot of a group of workers; AveragingSolver reads it");
  if (bytes.size() < magic.size() || std::memcmp(bytes.data(), magic.data(), magic.size()) != 0)
    throw fail(0, "a snapshot begins with \"SPKNSNAP\"; this file does not");
  ByteReader header(file, bytes);
  header.raw(magic.size(), "the header");
  if (const auto found = header.number<std::uint32_t>("the version"); found != version)
    throw fail(
        magic.size(),
        "is of version " + std::to_string(found) + " and this library reads " + std::to_string(version));
  const auto length = header.number<std::uint64_t>("the length");
  if (bytes.size() < header_bytes + 4 || length != bytes.size() - header_bytes - 4)
    throw fail(
        magic.size() + 4,
        "the body is said to have " + std::to_string(length) + " bytes, and the file has " +
            std::to_string(bytes.size()) + "; it was cut off or added to");
  const std::span<const std::byte> checked = bytes.first(bytes.size() - 4);
  std::uint32_t sum;
  std::memcpy(&sum, bytes.data() + checked.size(), sizeof sum);
  if (sum != crc32(checked)) throw fail(checked.size(), "the checksum is wrong: the file was damaged");

  ByteReader in(file, checked, header_bytes);
  return read_body(in);
}

Snapshot read_snapshot(const std::filesystem::path& file) {
  const File content(file);
  return parse_snapshot(content.name(), std::as_bytes(std::span(content.data(), content.size())));
}

}  // namespace sparknet::detail
