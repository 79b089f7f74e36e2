#include "src/distributed/group_snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "src/io/bytes.h"
#include "src/io/snapshot.h"
#include "src/layout.h"

namespace sparknet::detail {
namespace {

constexpr std::uint32_t version = 1;
constexpr std::size_t prefix_bytes = 8 + 4 + 8;
constexpr std::uint32_t max_slots = 64;

DType read_dtype(ByteReader& in) {
  const auto dtype = static_cast<DType>(in.number<std::uint8_t>("the element type"));
  if (dtype != DType::F32 && dtype != DType::F64) in.fail("the element type is neither f32 nor f64");
  return dtype;
}

/// Adds count * size to bytes; throws for what no machine holds.
void add_bytes(ByteReader& in, std::uint64_t& bytes, std::uint64_t count, std::uint64_t size) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(count, size, &product) || __builtin_add_overflow(bytes, product, &bytes))
    in.fail("a tensor has an impossible size");
}

std::uint64_t tensor_bytes(const GroupSnapshot& snapshot, ByteReader& in) {
  std::uint64_t arenas = 1, bytes = 0;
  if (snapshot.history == SolverHistory::Average) arenas += snapshot.slots;
  const std::uint64_t of_worker =
      snapshot.own_weights + (snapshot.history == SolverHistory::Keep ? std::uint64_t{snapshot.slots} : 0);
  add_bytes(in, arenas, snapshot.workers.size(), of_worker);
  std::uint64_t arena = 0;
  add_bytes(in, arena, static_cast<std::uint64_t>(snapshot.arena), size_of(snapshot.dtype));
  add_bytes(in, bytes, arenas, arena);
  for (const auto& [dtype, count] : snapshot.outer_tensors)
    add_bytes(in, bytes, static_cast<std::uint64_t>(count), size_of(dtype));
  return bytes;
}

}  // namespace

GroupSnapshot::Worker GroupSnapshot::resumed(int rank, int group, int iter_size) const {
  const auto at = static_cast<std::size_t>(rank);
  if (workers.size() == static_cast<std::size_t>(group) && workers[at].present) return workers[at];
  double seen = 0, present = 0;
  for (const Worker& worker : workers)
    if (worker.present) seen += static_cast<double>(worker.cursor), ++present;
  const double all = seen / std::max(present, 1.0) * static_cast<double>(workers.size());
  return {
      .passes = static_cast<std::uint64_t>(iteration) * static_cast<std::uint64_t>(iter_size),
      // Below 0 nobody had data; above the other end there is none.
      .cursor = all < 0 ? -1 : static_cast<std::int64_t>(std::min(all / group, 0x1p62))};
}

std::vector<std::byte> GroupSnapshot::header() const {
  ByteWriter out;
  out.text(rule);
  out.text(outer);
  out.text(schedule);
  out.number(static_cast<std::uint8_t>(dtype));
  out.number(static_cast<std::uint8_t>(history));
  out.number(static_cast<std::uint8_t>(own_weights));
  out.number(slots);
  out.number(iteration);
  out.number<std::uint64_t>(numbers.size());
  for (const double number : numbers) out.number(number);
  out.number<std::uint64_t>(workers.size());
  for (const Worker& worker : workers) {
    out.number(static_cast<std::uint8_t>(worker.present));
    out.number(worker.seed);
    out.number(worker.passes);
    out.number(worker.cursor);
  }
  write_layout(out, layout);
  out.number(arena);
  out.number<std::uint64_t>(outer_tensors.size());
  for (const auto& [type, count] : outer_tensors) {
    out.number(static_cast<std::uint8_t>(type));
    out.number(count);
  }
  return out.bytes();
}

GroupSnapshot GroupSnapshot::parse(const std::string& file, std::span<const std::byte> header) {
  ByteReader in(file, header, 0, prefix_bytes);
  GroupSnapshot snapshot;
  snapshot.rule = in.text("the update rule's name");
  snapshot.outer = in.text("the outer optimizer's name");
  snapshot.schedule = in.text("the schedule's name");
  snapshot.dtype = read_dtype(in);
  const auto history = in.number<std::uint8_t>("the kind of history");
  if (history > static_cast<std::uint8_t>(SolverHistory::Average)) in.fail("the kind of history is unknown");
  snapshot.history = static_cast<SolverHistory>(history);
  snapshot.own_weights = in.number<std::uint8_t>("whose weights") != 0;
  snapshot.slots = in.number<std::uint32_t>("the slots");
  if (snapshot.slots > max_slots) in.fail(fmt::format("has {} slots of history; no rule has so many", snapshot.slots));
  snapshot.iteration = in.number<std::int64_t>("the iteration");
  if (snapshot.iteration < 0) in.fail("the iteration is below 0");
  for (auto n = in.number<std::uint64_t>("the numbers"); n > 0; --n)
    snapshot.numbers.push_back(in.number<double>("the numbers"));
  for (auto n = in.number<std::uint64_t>("the workers"); n > 0; --n) {
    Worker worker;
    worker.present = in.number<std::uint8_t>("a worker") != 0;
    worker.seed = in.number<std::uint64_t>("a worker");
    worker.passes = in.number<std::uint64_t>("a worker");
    worker.cursor = in.number<std::int64_t>("a worker");
    if (worker.cursor < -1) in.fail("a worker's cursor is below -1");
    snapshot.workers.push_back(worker);
  }
  Dim packed = 0;
  snapshot.layout = read_layout(in, packed);
  snapshot.arena = in.number<Dim>("the arena");
  if (snapshot.arena < packed) in.fail("the arena is smaller than its parameters");
  for (auto n = in.number<std::uint64_t>("the outer optimizer's tensors"); n > 0; --n) {
    const DType type = read_dtype(in);
    const Dim count = in.number<Dim>("the outer optimizer's tensors");
    if (count < 0) in.fail("a tensor has an impossible size");
    snapshot.outer_tensors.emplace_back(type, count);
  }
  if (in.left() > 0) in.fail("the header is longer than what it holds");
  return snapshot;
}

void GroupSnapshot::require_fits(const std::string& file, const GroupSnapshot& run) const {
  const auto refuse = [&](const std::string& why) { throw DataError(file, -1, why); };
  const auto same = [&](const char* what, const std::string& here, const std::string& there) {
    if (here != there)
      refuse(fmt::format("was written with the {} \"{}\", and this run has \"{}\"", what, here, there));
  };
  same("update rule", rule, run.rule);
  same("outer optimizer", outer, run.outer);
  same("schedule", schedule, run.schedule);
  same("element type", to_string(dtype), to_string(run.dtype));
  const auto name = [](SolverHistory kind) {
    return kind == SolverHistory::Keep ? "kept" : kind == SolverHistory::Reset ? "reset" : "averaged";
  };
  same("solver history", name(history), name(run.history));
  try {
    require_same_layout(layout, run.layout);
  } catch (const ShapeError& why) {
    refuse(why.what());
  }
  if (arena != run.arena || slots != run.slots || own_weights != run.own_weights ||
      outer_tensors != run.outer_tensors || numbers.size() != run.numbers.size())
    refuse("was written by another version of the library, which laid its memory out otherwise");
}

GroupSnapshotWriter::GroupSnapshotWriter(const std::filesystem::path& file, const GroupSnapshot& snapshot)
    : file_(file) {
  const std::vector<std::byte> header = snapshot.header();
  ByteWriter out;
  out.raw(std::as_bytes(std::span(group_magic)));
  out.number(version);
  out.number<std::uint64_t>(header.size());
  out.raw(header);
  write(out.bytes());
}

void GroupSnapshotWriter::tensor(const Tensor& values) {
  write({values.raw(), values.bytes()});
}

void GroupSnapshotWriter::write(std::span<const std::byte> bytes) {
  checksum_ = crc32(bytes, checksum_);
  file_.write(bytes);
}

void GroupSnapshotWriter::commit() {
  file_.write(std::as_bytes(std::span(&checksum_, 1)));
  file_.commit();
}

std::span<const std::byte> checked_header(const std::string& file, std::span<const std::byte> bytes) {
  const auto fail = [&](std::size_t offset, const std::string& why) {
    return DataError(file, static_cast<std::int64_t>(offset), why);
  };
  if (bytes.size() < group_magic.size() || std::memcmp(bytes.data(), group_magic.data(), group_magic.size()) != 0)
    throw fail(0, "a group's snapshot begins with \"SPKNGRUP\"; this file does not");
  ByteReader in(file, bytes);
  in.raw(group_magic.size(), "the header");
  if (const auto found = in.number<std::uint32_t>("the version"); found != version)
    throw fail(group_magic.size(), fmt::format("is of version {} and this library reads {}", found, version));
  const auto header = in.raw(in.number<std::uint64_t>("the header's length"), "the header");
  if (in.left() < 4) in.fail("ends before its checksum");
  std::uint32_t checksum;
  std::memcpy(&checksum, bytes.data() + bytes.size() - 4, sizeof checksum);
  if (checksum != crc32(bytes.first(bytes.size() - 4)))
    throw fail(bytes.size() - 4, "the checksum is wrong: the file was damaged or cut off");
  const GroupSnapshot snapshot = GroupSnapshot::parse(file, header);
  if (const std::uint64_t wanted = tensor_bytes(snapshot, in); wanted != in.left() - 4)
    in.fail(fmt::format("the tensors take up {} bytes, and {} are there", wanted, in.left() - 4));
  return header;
}

GroupSnapshotReader::GroupSnapshotReader(const std::filesystem::path& file)
    : file_(file), header_(checked_header(file_.name(), std::as_bytes(std::span(file_.data(), file_.size())))) {
  left_ = {header_.data() + header_.size(), reinterpret_cast<const std::byte*>(file_.data() + file_.size())};
}

void GroupSnapshotReader::tensor(Tensor& values) {
  std::memcpy(values.raw(), left_.data(), values.bytes());
  left_ = left_.subspan(values.bytes());
}

}  // namespace sparknet::detail
