#include "sparknet/distributed/contribution.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "sparknet/error.h"
#include "src/distributed/codec.h"
#include "src/distributed/ordered_sum.h"
#include "src/io/bytes.h"

namespace sparknet {
namespace {

using detail::ByteReader;
using detail::ByteWriter;

const char* to_string(Carries carries) {
  return carries == Carries::Weights ? "weights" : "differences";
}

/// More than any net has, and few enough for all that is computed of them.
constexpr int max_slices = 1 << 20;
constexpr Dim max_elements = Dim{1} << 40;

bool is_identity(const Contribution& contribution) {
  return contribution.states.empty();
}
/// A slice of the identity is that of slices of its number alone.
bool goes_with_all(const Contribution& contribution) {
  return is_identity(contribution) && contribution.slices == 1;
}

/// The first element of a slice. Codec::Int8 rounds by blocks, which no slice may cut.
Dim slice_begin(Dim count, int index, int slices) {
  constexpr Dim block = 256;
  const Dim blocks = (count + block - 1) / block, share = (blocks + slices - 1) / slices;
  return std::min(count, index * share * block);
}
Dim slice_count(Dim count, int index, int slices) {
  return slice_begin(count, index + 1, slices) - slice_begin(count, index, slices);
}

/// Why there can be no such contribution, with sums of so many elements; empty where there can.
std::string flaw_of(const Contribution& c, const std::vector<Dim>& counts) {
  const std::size_t sums = counts.size();
  if (c.slices < 1 || c.slices > max_slices || c.slice < 0 || c.slice >= c.slices)
    return fmt::format("it is slice {} of {}", c.slice, c.slices);
  if (c.whole.size() != (c.slices > 1 ? sums : 0))
    return fmt::format("it is slice {} of {}, of {} sums, and has {}", c.slice, c.slices, c.whole.size(), sums);
  for (std::size_t i = 0; i < c.whole.size(); ++i)
    if (c.whole[i] < 0 || c.whole[i] > max_elements || counts[i] != slice_count(c.whole[i], c.slice, c.slices))
      return fmt::format(
          "sum {} has {} elements, which is not slice {} of {} of {}",
          i,
          counts[i],
          c.slice,
          c.slices,
          c.whole[i]);
  if (c.workers < 0 || c.rejected < 0 ||
      static_cast<std::size_t>(c.workers) + static_cast<std::size_t>(c.rejected) != c.states.size())
    return fmt::format(
        "it is of {} workers that count and {} that do not, and has the states of {}",
        c.workers,
        c.rejected,
        c.states.size());
  for (std::size_t i = 0; i < c.states.size(); ++i) {
    const WorkerState& state = c.states[i];
    if (state.worker < 0 || state.cursor < -1)
      return fmt::format("it has worker {} at example {}", state.worker, state.cursor);
    if (i > 0 && c.states[i - 1].worker >= state.worker)
      return fmt::format("it has worker {} after worker {}", state.worker, c.states[i - 1].worker);
  }
  if (c.round < 0 || c.steps < 0 || c.examples < 0 || c.most_steps < 0 || c.loss_steps < 0)
    return fmt::format(
        "one of its counts is negative: round {}, {} steps, {} of one worker, {} with a loss, {} examples",
        c.round,
        c.steps,
        c.most_steps,
        c.loss_steps,
        c.examples);
  if ((c.workers == 0) != (sums == 0)) return fmt::format("{} workers count, and it has {} sums", c.workers, sums);
  if (!(std::isfinite(c.weight) && (c.workers == 0 ? c.weight == 0 && c.unit == 0 : c.unit > 0 && c.weight >= c.unit)))
    return fmt::format("{} workers have a weight of {}, the first one {}", c.workers, c.weight, c.unit);
  return {};
}

std::vector<Dim> counts_of(const Contribution& c) {
  std::vector<Dim> counts;
  for (const Tensor& sum : c.sums) counts.push_back(sum.count());
  return counts;
}

void check(const Contribution& c) {
  if (const std::string flaw = flaw_of(c, counts_of(c)); !flaw.empty())
    throw Error(fmt::format("a contribution is wrong: {}", flaw));
  for (const Tensor& sum : c.sums) {
    if ((sum.dtype() != DType::F32 && sum.dtype() != DType::F64) || sum.dtype() != c.sums[0].dtype())
      throw Error(fmt::format(
          "a contribution is wrong: its sums are all f32 or all f64, not {} and {}",
          to_string(c.sums[0].dtype()),
          to_string(sum.dtype())));
    if (sum.device() != Device::cpu() || !sum.is_contiguous())
      throw Error("a contribution is wrong: its sums are dense and on the cpu");
  }
}

void check_kind(const Contribution& into, const Contribution& other) {
  if (other.schema != into.schema)
    throw Error(fmt::format(
        "a contribution of schema {:016x} cannot be merged into one of schema {:016x}: the nets or the element types "
        "differ",
        other.schema,
        into.schema));
  if (other.round != into.round)
    throw Error(
        fmt::format("a contribution of round {} cannot be merged into one of round {}", other.round, into.round));
  if (other.carries != into.carries)
    throw Error(fmt::format(
        "a contribution of {} cannot be merged into one of {}",
        to_string(other.carries),
        to_string(into.carries)));
}

void check_slice(const Contribution& into, const Contribution& other) {
  if (other.slice != into.slice || other.slices != into.slices)
    throw Error(fmt::format(
        "slice {} of {} of a contribution cannot be merged into slice {} of {}",
        other.slice,
        other.slices,
        into.slice,
        into.slices));
}

void check_sums(const Contribution& into, const Contribution& other) {
  if (other.whole != into.whole) throw Error("slices of sums of other sizes cannot be merged");
  if (other.sums.size() != into.sums.size())
    throw Error(
        fmt::format("a contribution of {} sums cannot be merged into one of {}", other.sums.size(), into.sums.size()));
  for (std::size_t i = 0; i < into.sums.size(); ++i)
    if (other.sums[i].count() != into.sums[i].count() || other.sums[i].dtype() != into.sums[i].dtype())
      throw Error(fmt::format(
          "sum {} of a contribution is {} {} and cannot be merged into {} {}",
          i,
          to_string(other.sums[i].dtype()),
          to_string(other.sums[i].shape()),
          to_string(into.sums[i].dtype()),
          to_string(into.sums[i].shape())));
}

std::int64_t total(std::int64_t a, std::int64_t b) {
  std::int64_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    throw Error(fmt::format("contributions count {} and {}, which is too much together", a, b));
  return sum;
}

/// The sum of one or more contributions of the same slice, checked each for itself, in the order of their first
/// workers. It is written to `memory`, which holds the sums of one of those that have any.
Contribution combine(std::vector<const Contribution*> parts, const std::vector<Tensor>& memory) {
  for (const Contribution* part : parts) check_kind(*parts[0], *part);
  std::ranges::sort(parts, {}, [](const Contribution* part) { return part->states[0].worker; });
  Contribution all = *parts[0];
  for (const Contribution* part : std::span(parts).subspan(1)) {
    all.workers += part->workers;
    all.rejected += part->rejected;
    all.weight += part->weight;
    all.steps = total(all.steps, part->steps);
    all.examples = total(all.examples, part->examples);
    all.most_steps = std::max(all.most_steps, part->most_steps);
    all.loss_sum += part->loss_sum;
    all.loss_steps = total(all.loss_steps, part->loss_steps);
    all.squares += part->squares;
    all.seconds += part->seconds;
    all.most_seconds = std::max(all.most_seconds, part->most_seconds);
    all.states.insert(all.states.end(), part->states.begin(), part->states.end());
  }
  std::ranges::sort(all.states, {}, &WorkerState::worker);
  if (const auto twice = std::ranges::adjacent_find(all.states, {}, &WorkerState::worker); twice != all.states.end())
    throw Error(fmt::format("worker {} is in both contributions: a task that ran twice counts once", twice->worker));

  std::erase_if(parts, [](const Contribution* part) { return part->workers == 0; });
  if (parts.empty()) return all;
  for (const Contribution* part : parts) check_sums(*parts[0], *part);
  all.unit = parts[0]->unit;
  all.whole = parts[0]->whole;
  all.sums = memory;
  std::vector<detail::Addend> addends(parts.size());
  for (std::size_t s = 0; s < all.sums.size() && parts.size() > 1; ++s) {
    for (std::size_t i = 0; i < parts.size(); ++i) addends[i] = {parts[i]->sums[s].raw(), parts[i]->unit / all.unit};
    Tensor& sum = all.sums[s];
    detail::ordered_mean(sum.dtype(), static_cast<std::size_t>(sum.count()), addends, 1, {{sum.raw()}});
  }
  return all;
}

constexpr std::string_view magic = "SPKNCONT";
constexpr std::uint32_t version = 2;
constexpr std::size_t head_bytes = 8 + 4 + 4, checksum_bytes = 4;
/// Of a chunk, but for its elements: the sum, the first element, how many, and the checksum.
constexpr std::size_t place_bytes = 4 + 8 + 4, frame_bytes = place_bytes + checksum_bytes;
/// The arena and the slots of a history; no update rule has so many.
constexpr std::uint32_t max_sums = 65;

const char* to_string(Codec codec) {
  switch (codec) {
    case Codec::Exact: return "exact";
    case Codec::BF16: return "bf16";
    case Codec::Int8: return "int8";
  }
  return "unknown";
}

/// A history is not what rounding errors of the last round can be added to.
Codec codec_of(std::size_t sum, Codec codec) {
  return sum == 0 ? codec : Codec::Exact;
}

std::uint64_t bytes_of_chunks(Codec codec, DType dtype, std::uint64_t count, std::uint64_t in_chunk) {
  const std::uint64_t rest = count % in_chunk;
  return count / in_chunk * (frame_bytes + detail::coded_bytes(codec, dtype, in_chunk)) +
         (rest == 0 ? 0 : frame_bytes + detail::coded_bytes(codec, dtype, rest));
}

DType dtype_of_sums(const Contribution& c) {
  return c.sums.empty() ? DType::F32 : c.sums[0].dtype();
}

/// All that was counted. Numbers that differ in a bit differ in their text.
std::string account_of(const Contribution& c) {
  return fmt::format(
      "{} workers and {} rejected, weight {} in units of {}, {} steps ({} of one worker), {} examples, "
      "loss {} in {} steps, squares {}, {} s ({} of one worker)",
      c.workers,
      c.rejected,
      c.weight,
      c.unit,
      c.steps,
      c.most_steps,
      c.examples,
      c.loss_sum,
      c.loss_steps,
      c.squares,
      c.seconds,
      c.most_seconds);
}

/// What says that two slices are not of the same contribution; empty where nothing does.
std::string difference_of(const Contribution& slice, const Contribution& other) {
  if (slice.slices != other.slices) return fmt::format("those were of {}", other.slices);
  if (slice.schema != other.schema)
    return fmt::format("its schema is {:016x} and theirs {:016x}", slice.schema, other.schema);
  if (slice.round != other.round) return fmt::format("its round is {} and theirs {}", slice.round, other.round);
  if (slice.carries != other.carries)
    return fmt::format("it carries {} and they {}", to_string(slice.carries), to_string(other.carries));
  const auto [a, b] = std::ranges::mismatch(slice.states, other.states);
  const auto name = [](auto at, auto end) {
    return at == end ? std::string("none")
                     : fmt::format("worker {} at example {} in pass {}", at->worker, at->cursor, at->passes);
  };
  if (a != slice.states.end() || b != other.states.end())
    return fmt::format("it is of {} where they are of {}", name(a, slice.states.end()), name(b, other.states.end()));
  if (const std::string here = account_of(slice), there = account_of(other); here != there)
    return fmt::format("it is of another run of the task, for it counts {} and they {}", here, there);
  if (slice.whole != other.whole || dtype_of_sums(slice) != dtype_of_sums(other))
    return "its sums are of other sizes or of another element type";
  return {};
}

/// Why these cannot be encoded so; empty where they can.
std::string misuse_of(Codec codec, Carries carries, DType dtype) {
  if (codec == Codec::Exact) return {};
  if (carries == Carries::Weights)
    return fmt::format("codec {} is for differences; weights are sent exactly", to_string(codec));
  if (dtype != DType::F32)
    return fmt::format("codec {} is for f32; {} is sent exactly", to_string(codec), to_string(dtype));
  return {};
}

void check_options(const Contribution& c, const EncodeOptions& options) {
  if (const std::string misuse = misuse_of(options.codec, c.carries, dtype_of_sums(c)); !misuse.empty())
    throw Error(misuse);
  if (options.elements_in_chunk == 0 || options.elements_in_chunk > std::numeric_limits<std::uint32_t>::max())
    throw Error(fmt::format("elements_in_chunk is {}; it is from 1 to 2^32 - 1", options.elements_in_chunk));
  if (c.sums.size() > max_sums)
    throw Error(fmt::format("a contribution has {} sums; {} are the most", c.sums.size(), max_sums));
  const Tensor& residual = options.residual;
  if (residual.defined() && !c.sums.empty() &&
      (residual.dtype() != DType::F32 || residual.count() != c.sums[0].count()))
    throw Error(fmt::format(
        "the residual is {} {}; it is f32, with the {} elements of the first sum",
        to_string(residual.dtype()),
        to_string(residual.shape()),
        c.sums[0].count()));
}

std::vector<std::byte> header_of(const Contribution& c, const EncodeOptions& options) {
  ByteWriter body;
  body.number(c.schema);
  body.number(c.round);
  body.number(static_cast<std::uint8_t>(c.carries));
  body.number(static_cast<std::uint8_t>(options.codec));
  body.number(static_cast<std::uint8_t>(dtype_of_sums(c)));
  body.number(static_cast<std::uint32_t>(options.elements_in_chunk));
  body.number(static_cast<std::int32_t>(c.workers));
  body.number(static_cast<std::int32_t>(c.rejected));
  for (const double value : {c.weight, c.unit, c.loss_sum, c.squares, c.seconds, c.most_seconds}) body.number(value);
  for (const std::int64_t value : {c.steps, c.examples, c.most_steps, c.loss_steps}) body.number(value);
  body.number(static_cast<std::uint32_t>(c.sums.size()));
  for (const Tensor& sum : c.sums) body.number(sum.count());
  body.number(static_cast<std::int32_t>(c.slice));
  body.number(static_cast<std::int32_t>(c.slices));
  for (const Dim count : c.whole) body.number(count);
  for (const WorkerState& state : c.states) {
    body.number(static_cast<std::int32_t>(state.worker));
    body.number(state.cursor);
    body.number(state.passes);
  }

  ByteWriter header;
  header.raw(std::as_bytes(std::span(magic)));
  header.number(version);
  header.number(static_cast<std::uint32_t>(body.bytes().size()));
  header.raw(body.bytes());
  header.number(detail::crc32(header.bytes()));
  return header.bytes();
}

template <class T>
std::byte* put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

struct Header {
  /// But for the sums.
  Contribution contribution;
  Codec codec = Codec::Exact;
  DType dtype = DType::F32;
  std::uint32_t elements_in_chunk = 0;
  std::vector<std::uint64_t> counts;
};

Header read_header(ByteReader& in) {
  Header header;
  Contribution& c = header.contribution;
  c.schema = in.number<std::uint64_t>("the schema");
  c.round = in.number<std::int64_t>("the round");
  const auto carries = in.number<std::uint8_t>("what it carries");
  const auto codec = in.number<std::uint8_t>("the codec");
  const auto dtype = in.number<std::uint8_t>("the element type");
  c.carries = static_cast<Carries>(carries);
  header.codec = static_cast<Codec>(codec);
  header.dtype = static_cast<DType>(dtype);
  if (c.carries != Carries::Weights && c.carries != Carries::Differences)
    in.fail(fmt::format("carries neither weights nor differences but number {}", carries));
  if (header.codec != Codec::Exact && header.codec != Codec::BF16 && header.codec != Codec::Int8)
    in.fail(fmt::format("there is no codec {}", codec));
  if (header.dtype != DType::F32 && header.dtype != DType::F64) in.fail("the element type is neither f32 nor f64");
  if (const std::string misuse = misuse_of(header.codec, c.carries, header.dtype); !misuse.empty()) in.fail(misuse);
  header.elements_in_chunk = in.number<std::uint32_t>("the elements in a chunk");
  if (header.elements_in_chunk == 0) in.fail("its chunks hold no elements");
  c.workers = in.number<std::int32_t>("the workers");
  c.rejected = in.number<std::int32_t>("the workers");
  for (double* value : {&c.weight, &c.unit, &c.loss_sum, &c.squares, &c.seconds, &c.most_seconds})
    *value = in.number<double>("the sums over the workers");
  for (std::int64_t* value : {&c.steps, &c.examples, &c.most_steps, &c.loss_steps})
    *value = in.number<std::int64_t>("the counts");
  const auto sums = in.number<std::uint32_t>("the sums");
  if (sums > max_sums) in.fail(fmt::format("has {} sums; {} are the most", sums, max_sums));
  for (std::uint32_t s = 0; s < sums; ++s) header.counts.push_back(in.number<std::uint64_t>("the sums"));
  c.slice = in.number<std::int32_t>("the slice");
  c.slices = in.number<std::int32_t>("the slice");
  if (c.slices > 1)
    for (std::uint32_t s = 0; s < sums; ++s) c.whole.push_back(in.number<std::int64_t>("the whole sums"));
  while (in.left() > 0) {
    WorkerState& state = c.states.emplace_back();
    state.worker = in.number<std::int32_t>("a worker's state");
    state.cursor = in.number<std::int64_t>("a worker's state");
    state.passes = in.number<std::uint64_t>("a worker's state");
  }
  const std::vector<Dim> counts(header.counts.begin(), header.counts.end());
  if (const std::string flaw = flaw_of(c, counts); !flaw.empty()) in.fail(flaw);
  return header;
}

}  // namespace

void Contribution::merge(const Contribution& other) {
  check(*this);
  check(other);
  if (goes_with_all(other)) return;
  if (!goes_with_all(*this)) check_slice(*this, other);
  if (is_identity(other)) {
    slice = other.slice;
    slices = other.slices;
    return;
  }
  std::vector<Tensor> memory = sums;
  if (workers == 0)
    for (const Tensor& sum : other.sums) memory.push_back(sum.copy());
  *this = is_identity(*this) ? combine({&other}, memory) : combine({this, &other}, memory);
}

Tensor Contribution::mean(std::size_t index) const {
  if (workers == 0) throw Error("a contribution of no workers that count has no mean");
  if (index >= sums.size())
    throw Error(fmt::format("a contribution has {} sums, and the mean of number {} was wanted", sums.size(), index));
  Tensor mean = sums[index].copy();
  if (weight != unit) mean.divide(weight / unit);
  return mean;
}

Contribution merge(std::vector<Contribution> parts) {
  std::vector<const Contribution*> others;
  const Contribution* slice = nullptr;
  for (const Contribution& part : parts) {
    check(part);
    if (goes_with_all(part)) continue;
    if (!slice) slice = &part;
    check_slice(*slice, part);
    if (!is_identity(part)) others.push_back(&part);
  }
  if (!slice) return {};
  if (others.empty()) return *slice;
  const auto first = std::ranges::find_if(parts, [](const Contribution& part) { return part.workers > 0; });
  return combine(others, first == parts.end() ? std::vector<Tensor>{} : first->sums);
}

Contribution slice(const Contribution& whole, int index, int count) {
  check(whole);
  if (whole.slices != 1)
    throw Error(fmt::format("slice {} of {} of a contribution cannot be cut again", whole.slice, whole.slices));
  if (count < 1 || count > max_slices || index < 0 || index >= count)
    throw Error(fmt::format("there is no slice {} of {} of a contribution", index, count));
  Contribution part = whole;
  if (count == 1) return part;
  part.slice = index;
  part.slices = count;
  part.whole = counts_of(whole);
  for (Tensor& sum : part.sums) {
    const Dim elements = sum.count(), begin = slice_begin(elements, index, count);
    sum = sum.flatten().subarray(Shape{begin}, Shape{begin + slice_count(elements, index, count)});
  }
  return part;
}

void ContributionJoiner::add(const Contribution& slice) {
  check(slice);
  const std::vector<Dim> counts = slice.slices == 1 ? counts_of(slice) : slice.whole;
  if (came_.empty()) {
    Contribution whole = slice;
    for (std::size_t s = 0; s < counts.size(); ++s) whole.sums[s] = Tensor(Shape{counts[s]}, slice.sums[s].dtype());
    came_.assign(static_cast<std::size_t>(slice.slices), false);
    left_ = came_.size();
    whole_ = std::move(whole);
  }
  if (const std::string why = difference_of(slice, whole_); !why.empty())
    throw Error(fmt::format(
        "slice {} of {} of a contribution is not of the one whose slices came before: {}",
        slice.slice,
        slice.slices,
        why));
  const auto index = static_cast<std::size_t>(slice.slice);
  if (came_[index]) throw Error(fmt::format("slice {} of {} came already", slice.slice, slice.slices));
  for (std::size_t s = 0; s < counts.size(); ++s) {
    const Dim begin = slice_begin(counts[s], slice.slice, slice.slices);
    Tensor place = whole_.sums[s].subarray(Shape{begin}, Shape{begin + slice.sums[s].count()});
    place.copy_from(slice.sums[s].flatten());
  }
  came_[index] = true;
  --left_;
}

Contribution ContributionJoiner::take() {
  if (!complete())
    throw Error(
        came_.empty() ? "no slice of the contribution has come"
                      : fmt::format(
                            "slice {} of {} of the contribution has not come",
                            std::ranges::find(came_, false) - came_.begin(),
                            came_.size()));
  Contribution whole = std::move(whole_);
  whole.slice = 0;
  whole.slices = 1;
  whole.whole.clear();
  *this = {};
  return whole;
}

std::uint64_t schema_of(const std::vector<ParamInfo>& layout, DType dtype) {
  ByteWriter text;
  text.number(static_cast<std::uint8_t>(dtype));
  text.number<std::uint64_t>(layout.size());
  for (const ParamInfo& info : layout) {
    text.text(info.layer);
    text.text(info.name);
    text.number<std::uint64_t>(info.shape.size());
    for (const Dim dim : info.shape) text.number(dim);
  }
  // FNV-1a.
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const std::byte b : text.bytes()) hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001B3;
  return hash;
}

void encode(
    const Contribution& contribution, const EncodeOptions& options,
    const std::function<void(std::span<const std::byte>)>& sink) {
  check(contribution);
  check_options(contribution, options);
  Tensor residual = options.residual;
  float* rest = residual.defined() ? residual.span<float>().data() : nullptr;
  sink(header_of(contribution, options));
  std::vector<std::byte> chunk;
  for (std::size_t s = 0; s < contribution.sums.size(); ++s) {
    const Tensor& sum = contribution.sums[s];
    const Codec codec = codec_of(s, options.codec);
    const auto count = static_cast<std::size_t>(sum.count());
    for (std::size_t begin = 0; begin < count; begin += options.elements_in_chunk) {
      const std::size_t elements = std::min(options.elements_in_chunk, count - begin);
      const std::size_t bytes = detail::coded_bytes(codec, sum.dtype(), elements);
      chunk.resize(frame_bytes + bytes);
      std::byte* at = put(chunk.data(), static_cast<std::uint32_t>(s));
      at = put<std::uint64_t>(at, begin);
      at = put(at, static_cast<std::uint32_t>(elements));
      if (codec == Codec::Exact)
        std::memcpy(at, sum.raw() + begin * size_of(sum.dtype()), bytes);
      else
        detail::write_rounded(
            codec,
            sum.span<float>().data() + begin,
            elements,
            rest == nullptr ? nullptr : rest + begin,
            at);
      put(at + bytes, detail::crc32(std::span(chunk).first(place_bytes + bytes)));
      sink(chunk);
    }
  }
}

std::vector<std::byte> encode(const Contribution& contribution, const EncodeOptions& options) {
  std::vector<std::byte> all;
  encode(contribution, options, [&](std::span<const std::byte> piece) {
    if (all.empty()) {
      std::uint64_t chunks = 0;
      for (std::size_t s = 0; s < contribution.sums.size(); ++s)
        chunks += bytes_of_chunks(
            codec_of(s, options.codec),
            contribution.sums[s].dtype(),
            static_cast<std::uint64_t>(contribution.sums[s].count()),
            options.elements_in_chunk);
      all.reserve(piece.size() + chunks);
    }
    all.insert(all.end(), piece.begin(), piece.end());
  });
  return all;
}

Contribution decode(std::span<const std::byte> bytes, const std::string& source) {
  const auto fail = [&](std::size_t offset, const std::string& why) {
    return DataError(source, static_cast<std::int64_t>(offset), why);
  };
  const auto check_sum = [&](std::size_t begin, std::size_t end, const char* what) {
    std::uint32_t sum;
    std::memcpy(&sum, bytes.data() + end, sizeof sum);
    if (sum != detail::crc32(bytes.subspan(begin, end - begin)))
      throw fail(end, fmt::format("the checksum of {} is wrong: it was damaged on its way", what));
  };
  if (bytes.size() < magic.size() || std::memcmp(bytes.data(), magic.data(), magic.size()) != 0)
    throw fail(0, "a contribution begins with \"SPKNCONT\"; this does not");
  ByteReader head(source, bytes, magic.size());
  if (const auto found = head.number<std::uint32_t>("the version"); found != version)
    throw fail(magic.size(), fmt::format("is of version {} and this library reads {}", found, version));
  const auto length = head.number<std::uint32_t>("the header's length");
  if (head.left() < std::uint64_t{length} + checksum_bytes)
    throw fail(
        head_bytes - 4,
        fmt::format("the header is said to have {} bytes, and {} follow; it was cut off", length, head.left()));
  check_sum(0, head_bytes + length, "the header");

  ByteReader in(source, bytes.first(head_bytes + length), head_bytes);
  Header header = read_header(in);
  std::size_t offset = head_bytes + length + checksum_bytes;
  // Checked before anything of that size is allocated: every element takes up a byte at least.
  const std::uint64_t left = bytes.size() - offset;
  std::uint64_t wanted = 0;
  for (std::size_t s = 0; s < header.counts.size(); ++s) {
    if (header.counts[s] > left)
      throw fail(
          offset,
          fmt::format("sum {} is said to have {} elements, and {} bytes follow", s, header.counts[s], left));
    wanted += bytes_of_chunks(codec_of(s, header.codec), header.dtype, header.counts[s], header.elements_in_chunk);
  }
  if (wanted != left)
    throw fail(
        offset,
        fmt::format("the sums take up {} bytes, and {} follow; it was cut off or added to", wanted, left));

  for (std::size_t s = 0; s < header.counts.size(); ++s) {
    const Codec codec = codec_of(s, header.codec);
    Tensor& sum = header.contribution.sums.emplace_back(Shape{header.counts[s]}, header.dtype);
    for (std::uint64_t begin = 0; begin < header.counts[s]; begin += header.elements_in_chunk) {
      const std::uint64_t elements = std::min<std::uint64_t>(header.elements_in_chunk, header.counts[s] - begin);
      const std::size_t size = detail::coded_bytes(codec, header.dtype, elements);
      check_sum(offset, offset + place_bytes + size, "a chunk");
      ByteReader chunk(source, bytes, offset);
      const auto of = chunk.number<std::uint32_t>("a chunk");
      const auto from = chunk.number<std::uint64_t>("a chunk");
      const auto many = chunk.number<std::uint32_t>("a chunk");
      if (of != s || from != begin || many != elements)
        throw fail(
            offset,
            fmt::format(
                "{} elements from {} of sum {} are due, and {} from {} of sum {} are here",
                elements,
                begin,
                s,
                many,
                from,
                of));
      const std::byte* values = bytes.data() + offset + place_bytes;
      if (codec == Codec::Exact)
        std::memcpy(sum.raw() + begin * size_of(header.dtype), values, size);
      else
        detail::read_rounded(codec, values, elements, sum.span<float>().data() + begin);
      offset += frame_bytes + size;
    }
  }
  return std::move(header.contribution);
}

}  // namespace sparknet
