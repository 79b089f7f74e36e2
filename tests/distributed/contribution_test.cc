#include "sparknet/distributed/contribution.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "src/io/bytes.h"
#include "tests/message_of.h"
#include "tests/tensor_values.h"

using namespace sparknet;
using namespace sparknet::testing;

namespace {

Tensor normal(Dim count, std::uint32_t seed, DType dtype = DType::F32) {
  std::mt19937 random(seed);
  std::normal_distribution<double> values;
  Tensor tensor({count}, DType::F64);
  for (double& x : tensor.span<double>()) x = values(random);
  return tensor.cast(dtype);
}

/// Numbers whose sums are exact in f32, and all different.
Contribution of_worker(int worker, double weight = 1, std::vector<Tensor> sums = {}) {
  if (sums.empty()) {
    sums = {counting({5})};
    sums[0].add(Tensor({5}).fill(100 * worker));
  }
  return {
      .schema = 0xABCDEF,
      .round = 5,
      .carries = Carries::Differences,
      .workers = 1,
      .weight = weight,
      .unit = weight,
      .steps = 10 + worker,
      .examples = 640 + worker,
      .most_steps = 10 + worker,
      .loss_sum = 2.25 * worker,
      .loss_steps = 10 + worker,
      .squares = 0.5 + worker,
      .seconds = 1.5 * worker,
      .most_seconds = 1.5 * worker,
      .states = {{.worker = worker, .cursor = 7 * worker, .passes = 3}},
      .sums = std::move(sums)};
}

Contribution rejected(int worker) {
  Contribution contribution = of_worker(worker);
  contribution.workers = 0;
  contribution.rejected = 1;
  contribution.weight = contribution.unit = contribution.loss_sum = contribution.squares = 0;
  contribution.loss_steps = 0;
  contribution.sums.clear();
  return contribution;
}

Contribution copy_of(Contribution contribution) {
  for (Tensor& sum : contribution.sums) sum = sum.copy();
  return contribution;
}

std::vector<Contribution> copies_of(const std::vector<Contribution>& parts) {
  std::vector<Contribution> copies;
  for (const Contribution& part : parts) copies.push_back(copy_of(part));
  return copies;
}

Contribution sum_of(const Contribution& a, const Contribution& b) {
  Contribution sum = copy_of(a);
  sum.merge(b);
  return sum;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// Every field, and every bit of the sums.
void check_same(const Contribution& a, const Contribution& b) {
  CHECK(a.schema == b.schema);
  CHECK(a.round == b.round);
  CHECK(a.carries == b.carries);
  CHECK(a.workers == b.workers);
  CHECK(a.rejected == b.rejected);
  CHECK(a.weight == b.weight);
  CHECK(a.unit == b.unit);
  CHECK(a.steps == b.steps);
  CHECK(a.examples == b.examples);
  CHECK(a.most_steps == b.most_steps);
  CHECK(a.loss_sum == b.loss_sum);
  CHECK(a.loss_steps == b.loss_steps);
  CHECK(a.squares == b.squares);
  CHECK(a.seconds == b.seconds);
  CHECK(a.most_seconds == b.most_seconds);
  CHECK(a.states == b.states);
  CHECK(a.slice == b.slice);
  CHECK(a.slices == b.slices);
  CHECK(a.whole == b.whole);
  REQUIRE(a.sums.size() == b.sums.size());
  for (std::size_t i = 0; i < a.sums.size(); ++i) CHECK(same_bits(a.sums[i], b.sums[i]));
}

/// Sums of random numbers, and weights of which no two are alike.
std::vector<Contribution> uneven_parts() {
  std::vector<Contribution> parts;
  for (int worker = 0; worker < 5; ++worker)
    parts.push_back(of_worker(
        worker,
        64 + 37 * worker,
        {normal(3000, static_cast<std::uint32_t>(worker)), normal(3000, 100 + static_cast<std::uint32_t>(worker))}));
  parts[2] = rejected(2);
  return parts;
}

}  // namespace

TEST_CASE("contribution: the empty one is the identity of merge") {
  const Contribution a = of_worker(3, 4);
  check_same(sum_of(a, {}), a);
  check_same(sum_of({}, a), a);
  check_same(sum_of(rejected(1), {}), rejected(1));
  check_same(sum_of({}, rejected(1)), rejected(1));
  check_same(sum_of({}, {}), {});
  check_same(merge({}), {});
  check_same(merge({{}, copy_of(a), {}}), a);
}

TEST_CASE("contribution: merge counts everything") {
  Contribution sum = of_worker(4);
  sum.merge(rejected(7));
  sum.merge(of_worker(1));
  CHECK(sum.schema == 0xABCDEF);
  CHECK(sum.round == 5);
  CHECK(sum.carries == Carries::Differences);
  CHECK(sum.workers == 2);
  CHECK(sum.rejected == 1);
  CHECK(sum.weight == 2);
  CHECK(sum.unit == 1);
  CHECK(sum.steps == 42);
  CHECK(sum.examples == 1932);
  CHECK(sum.most_steps == 17);
  CHECK(sum.loss_sum == 11.25);
  CHECK(sum.loss_steps == 25);
  CHECK(sum.squares == 6);
  CHECK(sum.seconds == 18);
  CHECK(sum.most_seconds == 10.5);
  CHECK(sum.states == std::vector<WorkerState>{{1, 7, 3}, {4, 28, 3}, {7, 49, 3}});
  CHECK(values<float>(sum.sums[0]) == Floats{500, 502, 504, 506, 508});
  CHECK(values<float>(sum.mean()) == Floats{250, 251, 252, 253, 254});
}

TEST_CASE("contribution: merge is commutative, and associative where sums are exact") {
  const Contribution a = of_worker(0), b = of_worker(1), c = of_worker(2);
  check_same(sum_of(a, b), sum_of(b, a));
  check_same(sum_of(sum_of(a, b), c), sum_of(a, sum_of(b, c)));
  check_same(sum_of(sum_of(a, c), b), sum_of(a, sum_of(b, c)));

  const std::vector<Contribution> parts = uneven_parts();
  check_same(sum_of(parts[3], parts[1]), sum_of(parts[1], parts[3]));
  const Contribution left = sum_of(sum_of(parts[0], parts[1]), parts[3]);
  const Contribution right = sum_of(parts[0], sum_of(parts[1], parts[3]));
  CHECK_FALSE(same_bits(left.sums[0], right.sums[0]));
  CHECK(equal(left.sums[0], right.sums[0], 1e-5));
}

TEST_CASE("contribution: many merge to the same bits in any order, in one pass or one by one") {
  const std::vector<Contribution> parts = uneven_parts();
  Contribution fold;
  for (const Contribution& part : parts) fold.merge(part);
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    std::vector<Contribution> shuffled;
    for (const std::size_t i : order) shuffled.push_back(copy_of(parts[i]));
    check_same(merge(std::move(shuffled)), fold);
  } while (std::next_permutation(order.begin(), order.end()));

  // Parts that are sums themselves, of workers that lie between each other's.
  const Contribution odd = sum_of(parts[1], parts[3]), even = sum_of(parts[0], parts[4]);
  check_same(merge({copy_of(odd), rejected(2), copy_of(even)}), sum_of(sum_of(even, odd), rejected(2)));
}

TEST_CASE_TEMPLATE("contribution: the mean is that of doubles", T, float, double) {
  constexpr Dim count = 5000;
  const double weights[] = {64, 1, 1000, 333.25};
  std::vector<Contribution> parts;
  for (int worker = 0; worker < 4; ++worker)
    parts.push_back(
        of_worker(worker, weights[worker], {normal(count, static_cast<std::uint32_t>(worker), dtype_of<T>)}));
  const std::vector<Contribution> originals = copies_of(parts);
  const Tensor mean = merge(std::move(parts)).mean();
  const double tolerance = 8 * std::numeric_limits<T>::epsilon();
  for (Dim i = 0; i < count; ++i) {
    double sum = 0, weight = 0;
    for (std::size_t worker = 0; worker < 4; ++worker) {
      sum += weights[worker] * static_cast<double>(originals[worker].sums[0].get<T>(i));
      weight += weights[worker];
    }
    REQUIRE(std::abs(static_cast<double>(mean.get<T>(i)) - sum / weight) < tolerance);
  }
}

TEST_CASE("contribution: one worker's mean and equal workers' sums are not rounded") {
  const Tensor values = normal(1000, 1);
  CHECK(same_bits(of_worker(0, 0.1, {values}).mean(), values));
  const Contribution sum = merge({of_worker(0, 0.1, {values.copy()}), of_worker(1, 0.1, {values.copy()})});
  CHECK(same_bits(sum.sums[0], plus(values, values)));
  CHECK(same_bits(sum.mean(), values));
}

TEST_CASE("contribution: rejected workers leave the sums alone") {
  const Contribution a = of_worker(2, 3), b = of_worker(4, 5);
  Contribution sum = rejected(0);
  sum.merge(a);
  CHECK(sum.unit == 3);
  CHECK(same_bits(sum.sums[0], a.sums[0]));
  sum.merge(rejected(9));
  sum.merge(b);
  CHECK(sum.workers == 2);
  CHECK(sum.rejected == 2);
  CHECK(sum.unit == 3);
  CHECK(sum.weight == 8);
  CHECK(same_bits(sum.sums[0], sum_of(a, b).sums[0]));

  const Contribution none = merge({rejected(1), rejected(0)});
  CHECK(none.rejected == 2);
  CHECK(none.sums.empty());
  CHECK(message_of([&] { none.mean(); }) == "a contribution of no workers that count has no mean");
}

TEST_CASE("contribution: merge shares no memory with the other and leaves it alone") {
  for (const Contribution& start : {Contribution{}, rejected(0), of_worker(0)}) {
    const Contribution a = of_worker(1), b = of_worker(2);
    Contribution sum = copy_of(start);
    sum.merge(a);
    sum.merge(b);
    sum.sums[0].fill(-1);
    check_same(a, of_worker(1));
    check_same(b, of_worker(2));
  }
  const Contribution a = of_worker(0);
  a.mean().fill(-1);
  check_same(a, of_worker(0));
}

TEST_CASE("contribution: many are merged in the memory of one") {
  std::vector<Contribution> parts;
  std::vector<const std::byte*> memory;
  for (int worker = 0; worker < 3; ++worker) {
    parts.push_back(of_worker(worker));
    memory.push_back(parts.back().sums[0].raw());
  }
  const Contribution sum = merge(std::move(parts));
  CHECK(std::ranges::count(memory, sum.sums[0].raw()) == 1);
}

TEST_CASE("contribution: what does not go together") {
  const Contribution good = of_worker(3);
  const auto refuse = [&](auto&& change) {
    Contribution other = of_worker(4);
    change(other);
    Contribution into = copy_of(good);
    const std::string message = message_of([&] { into.merge(other); });
    check_same(into, good);
    CHECK(message_of([&] { merge({copy_of(good), other}); }) == message);
    return message;
  };
  CHECK(refuse([](Contribution& c) {
          c.states[0].worker = 3;
        }) == "worker 3 is in both contributions: a task that ran twice counts once");
  CHECK(
      refuse([](Contribution& c) { c.round = 4; }) == "a contribution of round 4 cannot be merged into one of round 5");
  CHECK(
      refuse([](Contribution& c) { c.schema = 0x12; }) ==
      "a contribution of schema 0000000000000012 cannot be merged into one of schema 0000000000abcdef: the nets or the "
      "element types differ");
  CHECK(refuse([](Contribution& c) {
          c.carries = Carries::Weights;
        }) == "a contribution of weights cannot be merged into one of differences");
  CHECK(refuse([](Contribution& c) {
          c.sums.push_back(c.sums[0]);
        }) == "a contribution of 2 sums cannot be merged into one of 1");
  CHECK(refuse([](Contribution& c) {
          c.sums[0] = Tensor({6});
        }) == "sum 0 of a contribution is f32 [6] and cannot be merged into f32 [5]");
  CHECK(refuse([](Contribution& c) {
          c.sums[0] = Tensor({5}, DType::F64);
        }) == "sum 0 of a contribution is f64 [5] and cannot be merged into f32 [5]");
  CHECK(refuse([](Contribution& c) {
          c.steps = std::numeric_limits<std::int64_t>::max();
        }) == "contributions count 13 and 9223372036854775807, which is too much together");

  // A worker that was rejected the first time is there all the same.
  CHECK(message_of([&] {
          merge({of_worker(1), rejected(3), sum_of(of_worker(2), of_worker(3))});
        }) == "worker 3 is in both contributions: a task that ran twice counts once");
}

TEST_CASE("contribution: what is none") {
  const auto refuse = [](auto&& change) {
    Contribution wrong = of_worker(4);
    change(wrong);
    Contribution into = of_worker(3);
    const std::string message = message_of([&] { into.merge(wrong); });
    CHECK(message_of([&] { encode(wrong); }) == message);
    return message;
  };
  CHECK(refuse([](Contribution& c) {
          c.workers = 2;
        }) == "a contribution is wrong: it is of 2 workers that count and 0 that do not, and has the states of 1");
  CHECK(refuse([](Contribution& c) {
          c.workers = 2;
          c.states.push_back({.worker = 4});
        }) == "a contribution is wrong: it has worker 4 after worker 4");
  CHECK(refuse([](Contribution& c) {
          c.states[0].cursor = -2;
        }) == "a contribution is wrong: it has worker 4 at example -2");
  CHECK(
      refuse([](Contribution& c) { c.sums.clear(); }) == "a contribution is wrong: 1 workers count, and it has 0 sums");
  CHECK(refuse([](Contribution& c) {
          c.weight = c.unit = 0;
        }) == "a contribution is wrong: 1 workers have a weight of 0, the first one 0");
  CHECK(refuse([](Contribution& c) {
          c.weight = sparknet::testing::nan;
        }) == "a contribution is wrong: 1 workers have a weight of nan, the first one 1");
  CHECK(
      refuse([](Contribution& c) { c.steps = -1; }) ==
      "a contribution is wrong: one of its counts is negative: round 5, -1 steps, 14 of one worker, 14 with a loss, "
      "644 "
      "examples");
  CHECK(refuse([](Contribution& c) {
          c.sums.push_back(Tensor({5}, DType::F64));
        }) == "a contribution is wrong: its sums are all f32 or all f64, not f32 and f64");
  CHECK(refuse([](Contribution& c) {
          c.sums[0] = Tensor({5, 2}).slice(1, 0);
        }) == "a contribution is wrong: its sums are dense and on the cpu");
}

TEST_CASE("contribution: the schema is that of names, shapes and the element type") {
  const std::vector<ParamInfo> layout = {
      {.layer = "conv", .name = "weights", .shape = {6, 2, 3, 3}},
      {.layer = "conv", .name = "bias", .shape = {6}}};
  const std::uint64_t schema = schema_of(layout, DType::F32);
  CHECK(schema_of(layout, DType::F64) != schema);
  std::vector<std::uint64_t> all = {schema};
  const auto add = [&](auto&& change) {
    std::vector<ParamInfo> other = layout;
    change(other);
    all.push_back(schema_of(other, DType::F32));
  };
  add([](auto& l) { l[0].layer = "conw"; });
  add([](auto& l) { l[1].name = "bies"; });
  add([](auto& l) { l[0].layer = "convw", l[0].name = "eights"; });
  add([](auto& l) { l[0].shape = {6, 2, 9}; });
  add([](auto& l) { l[0].shape = {2, 6, 3, 3}; });
  add([](auto& l) { std::swap(l[0], l[1]); });
  add([](auto& l) { l.pop_back(); });
  add([](auto& l) { l.clear(); });
  // The same numbers, but for where the shapes end.
  const ParamInfo scalar{.layer = "", .name = "", .shape = {}}, none{.layer = "", .name = "", .shape = {0}};
  all.push_back(schema_of({scalar, none}, DType::F32));
  all.push_back(schema_of({none, scalar}, DType::F32));
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());

  std::vector<ParamInfo> moved = layout;
  moved[0].offset = 64;
  moved[0].lr_mult = 2;
  CHECK(schema_of(moved, DType::F32) == schema);
  // It is written to files: FNV-1a of u8 1, u64 0.
  CHECK(schema_of({}, DType::F64) == 0x529A2CDC8FF533AC);
}

TEST_CASE("contribution: an exact one comes back with all its bits") {
  const auto round_trip = [](const Contribution& c, std::size_t elements_in_chunk) {
    check_same(decode(encode(c, {.elements_in_chunk = elements_in_chunk})), c);
  };
  round_trip({}, 1);
  round_trip(rejected(3), 1);
  for (const DType dtype : {DType::F32, DType::F64})
    for (const Dim count : {0, 1, 2, 255, 256, 257, 299, 300, 301, 600, 1000})
      for (const std::size_t chunk : {1u, 255u, 256u, 300u, 1000000u})
        round_trip(of_worker(1, 1, {normal(count, 1, dtype), normal(count / 2, 2, dtype)}), chunk);
  Tensor special =
      Tensor::from({5}, Floats{-0.f, infinity, sparknet::testing::nan, std::numeric_limits<float>::denorm_min(), 1});
  Contribution weights = of_worker(1, 0.1, {special});
  weights.carries = Carries::Weights;
  weights.states[0].cursor = -1;
  round_trip(weights, 2);
  round_trip(merge(uneven_parts()), 700);
}

TEST_CASE("contribution: what was decoded merges to the same bits") {
  std::vector<Contribution> parts = uneven_parts(), decoded;
  for (const Contribution& part : parts) decoded.push_back(decode(encode(part)));
  check_same(merge(std::move(decoded)), merge(std::move(parts)));
}

TEST_CASE("contribution: a sink gets the bytes in pieces of a chunk") {
  const Contribution c = of_worker(1, 1, {normal(1000, 1), normal(10, 2)});
  std::vector<std::byte> all;
  std::vector<std::size_t> sizes;
  encode(c, {.elements_in_chunk = 300}, [&](std::span<const std::byte> piece) {
    all.insert(all.end(), piece.begin(), piece.end());
    sizes.push_back(piece.size());
  });
  CHECK(all == encode(c, {.elements_in_chunk = 300}));
  sizes.erase(sizes.begin());
  CHECK(sizes == std::vector<std::size_t>{1220, 1220, 1220, 420, 60});
}

TEST_CASE("contribution: what lossy codecs lose") {
  for (const Dim count : {1, 255, 256, 257, 511, 512, 513, 999, 1000, 1001, 3000})
    for (const std::size_t chunk : {1u, 256u, 1000u}) {
      const Tensor values = normal(count, 3) * 1e-3, slot = normal(7, 4);
      const Contribution c = of_worker(1, 1, {values, slot});
      const auto lossy = [&](Codec codec) {
        const Contribution decoded = decode(encode(c, {.codec = codec, .elements_in_chunk = chunk}));
        CHECK(same_bits(decoded.sums[1], slot));
        Contribution rest = decoded;
        rest.sums[0] = values;
        check_same(rest, c);
        return decoded.sums[0];
      };
      const Tensor halves = lossy(Codec::BF16), bytes = lossy(Codec::Int8);
      for (Dim i = 0; i < count; ++i) {
        const float x = values.get<float>(i);
        REQUIRE(std::abs(halves.get<float>(i) - x) <= std::abs(x) * 0x1p-8f);
      }
      const Dim in_chunk = static_cast<Dim>(chunk);
      for (Dim begin = 0; begin < count;) {
        const Dim end = std::min({begin + 256, begin / in_chunk * in_chunk + in_chunk, count});
        float most = 0;
        for (Dim i = begin; i < end; ++i) most = std::max(most, std::abs(values.get<float>(i)));
        for (Dim i = begin; i < end; ++i)
          REQUIRE(std::abs(bytes.get<float>(i) - values.get<float>(i)) <= most / 127 / 2 * 1.0001f);
        begin = end;
      }
    }
}

TEST_CASE("contribution: bf16 rounds to the nearest even") {
  const auto rounded = [](Floats list) {
    const Dim count = static_cast<Dim>(list.size());
    return values<float>(
        decode(encode(of_worker(1, 1, {Tensor::from({count}, list)}), {.codec = Codec::BF16})).sums[0]);
  };
  CHECK(
      rounded({0, -0.f, 1, 1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 1 + 0x1.01p-8f, -1 - 0x1p-8f, 0x1.fep127f, infinity}) ==
      Floats{0, -0.f, 1, 1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1, 0x1.fep127f, infinity});
  for (const std::uint32_t bits : {0x7F800001u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu})
    CHECK(std::isnan(rounded({std::bit_cast<float>(bits)})[0]));
}

TEST_CASE("contribution: int8 is a multiple of the largest") {
  const auto rounded = [](Floats list) {
    const Dim count = static_cast<Dim>(list.size());
    return values<float>(
        decode(encode(of_worker(1, 1, {Tensor::from({count}, list)}), {.codec = Codec::Int8})).sums[0]);
  };
  CHECK(rounded({-127, 126, 1, -1, 0.5, 1.5, -2.5, 2.6f, 0.4f}) == Floats{-127, 126, 1, -1, 0, 2, -2, 3, 0});
  CHECK(rounded({0, -0.f, 0}) == Floats{0, 0, 0});
  CHECK(rounded({1e-42f, -1e-42f}) == Floats{0, 0});
  CHECK(rounded({-2e-36f})[0] == doctest::Approx(-2e-36));
  CHECK(std::isnan(rounded({1, sparknet::testing::nan})[1]));
  CHECK(std::isnan(rounded({1, infinity})[1]));
  // Blocks are for themselves.
  Tensor values = Tensor({300}).fill(1);
  values.set<float>(1e6f, 299);
  const Tensor decoded = decode(encode(of_worker(1, 1, {values}), {.codec = Codec::Int8})).sums[0];
  CHECK(decoded.get<float>(255) == 1);
  CHECK(decoded.get<float>(256) == 0);
}

TEST_CASE("contribution: what rounding leaves over is sent later") {
  constexpr Dim count = 700;
  for (const Codec codec : {Codec::BF16, Codec::Int8})
    for (const std::size_t chunk : {300u, 1000u}) {
      Tensor residual({count}), sent({count}, DType::F64), wanted({count}, DType::F64), lost({count}, DType::F64);
      float largest = 0;
      for (std::uint32_t round = 0; round < 50; ++round) {
        // Some are always far below a quantum, and all lean to one side.
        Tensor values = normal(count, round).add(Tensor({count}).fill(0.001));
        for (Dim i = 0; i < count; i += 3) values.set<float>(0.001f, i);
        for (const float x : values.span<float>()) largest = std::max(largest, std::abs(x));
        const Contribution c = of_worker(1, 1, {values});
        const Tensor before = values.copy();
        sent.add(decode(encode(c, {.codec = codec, .residual = residual, .elements_in_chunk = chunk}))
                     .sums[0]
                     .cast(DType::F64));
        CHECK(same_bits(values, before));
        lost.add(decode(encode(c, {.codec = codec})).sums[0].cast(DType::F64));
        wanted.add(values.cast(DType::F64));
        REQUIRE(equal(plus(sent, residual.cast(DType::F64)), wanted, 1e-4));
      }
      const double quantum = codec == Codec::BF16 ? 2 * largest * 0x1p-8 : 2 * largest / 127;
      CHECK(equal(sent, wanted, quantum));
      CHECK_FALSE(equal(lost, wanted, quantum));
    }
}

TEST_CASE("contribution: an exact encoding leaves the residual alone") {
  const Tensor residual = Tensor({5}).fill(3);
  const Contribution c = of_worker(1);
  check_same(decode(encode(c, {.residual = residual})), c);
  CHECK(residual == Tensor({5}).fill(3));
}

TEST_CASE("contribution: what cannot be encoded") {
  Contribution weights = of_worker(1);
  weights.carries = Carries::Weights;
  CHECK(message_of([&] {
          encode(weights, {.codec = Codec::BF16});
        }) == "codec bf16 is for differences; weights are sent exactly");
  CHECK(message_of([&] {
          encode(of_worker(1, 1, {Tensor({5}, DType::F64)}), {.codec = Codec::Int8});
        }) == "codec int8 is for f32; f64 is sent exactly");
  CHECK(message_of([&] {
          encode(of_worker(1), {.codec = Codec::Int8, .residual = Tensor({4})});
        }) == "the residual is f32 [4]; it is f32, with the 5 elements of the first sum");
  CHECK(message_of([&] {
          encode(of_worker(1), {.elements_in_chunk = 0});
        }) == "elements_in_chunk is 0; it is from 1 to 2^32 - 1");
  CHECK(message_of([&] {
          encode(of_worker(1, 1, std::vector<Tensor>(66, Tensor({1}))));
        }) == "a contribution has 66 sums; 65 are the most");
}

TEST_CASE("contribution: no cut or damaged one is decoded") {
  const Contribution c = merge({of_worker(0), of_worker(1), rejected(5)});
  for (const Codec codec : {Codec::Exact, Codec::BF16, Codec::Int8}) {
    const std::vector<std::byte> good = encode(c, {.codec = codec, .elements_in_chunk = 3});
    REQUIRE_NOTHROW(decode(good));
    for (std::size_t size = 0; size < good.size(); ++size)
      REQUIRE_THROWS_AS(decode(std::span(good).first(size)), DataError);
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
      std::vector<std::byte> bad = good;
      bad[bit / 8] ^= std::byte{1} << bit % 8;
      REQUIRE_THROWS_AS(decode(bad), DataError);
    }
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    CHECK_THROWS_AS(decode(longer), DataError);
  }
}

TEST_CASE("contribution: what a refused encoding says") {
  // Without sums and states the header's body has 123 bytes; with its checksum the header has 143.
  const Contribution c = of_worker(1);
  const std::vector<std::byte> good = encode(c, {.elements_in_chunk = 3});
  const std::size_t header = 143 + 8 + 20, chunk = 20 + 12;
  REQUIRE(good.size() == header + chunk + 20 + 8);
  const auto refuse = [](std::vector<std::byte> bytes) { return message_of([&] { decode(bytes, "part 7"); }); };
  /// Writes over the bytes at `offset` and makes the checksum of [begin, end) right.
  const auto forge = [&](std::size_t offset, auto value, std::size_t begin, std::size_t end) {
    std::vector<std::byte> bytes = good;
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    const std::uint32_t sum = detail::crc32(std::span(bytes).subspan(begin, end - begin));
    std::memcpy(bytes.data() + end, &sum, sizeof sum);
    return refuse(bytes);
  };
  const auto forge_header = [&](std::size_t offset, auto value) { return forge(offset, value, 0, header - 4); };

  CHECK(refuse({}) == "part 7, byte 0: a contribution begins with \"SPKNCONT\"; this does not");
  CHECK(forge_header(8, std::uint32_t{1}) == "part 7, byte 8: is of version 1 and this library reads 2");
  CHECK(
      refuse({good.begin(), good.begin() + 100}) ==
      "part 7, byte 12: the header is said to have 151 bytes, and 84 follow; it was cut off");
  CHECK(forge_header(32, std::uint8_t{2}).ends_with("carries neither weights nor differences but number 2"));
  CHECK(forge_header(33, std::uint8_t{3}).ends_with("there is no codec 3"));
  CHECK(forge_header(34, std::uint8_t{2}).ends_with("the element type is neither f32 nor f64"));
  CHECK(forge_header(35, std::uint32_t{0}).ends_with("its chunks hold no elements"));
  CHECK(forge_header(39, std::int32_t{2})
            .ends_with("it is of 2 workers that count and 0 that do not, and has the states of 1"));
  CHECK(forge_header(127, std::uint32_t{66}).ends_with("has 66 sums; 65 are the most"));
  CHECK(
      forge_header(131, std::uint64_t{1} << 60) ==
      "part 7, byte 171: sum 0 is said to have 1152921504606846976 elements, and 60 bytes follow");
  CHECK(
      forge_header(131, std::uint64_t{6}) ==
      "part 7, byte 171: the sums take up 64 bytes, and 60 follow; it was cut off or added to");
  CHECK(
      forge(header + 4, std::uint64_t{3}, header, header + chunk - 4) ==
      "part 7, byte 171: 3 elements from 0 of sum 0 are due, and 3 from 3 of sum 0 are here");
  std::vector<std::byte> damaged = good;
  damaged[header + 20] ^= std::byte{1};
  CHECK(refuse(damaged) == "part 7, byte 199: the checksum of a chunk is wrong: it was damaged on its way");
}

namespace {

/// Contributions of `workers` workers, of sums that no number of slices divides.
std::vector<Contribution> large(int workers, Dim count = 1000) {
  std::vector<Contribution> all;
  for (int w = 0; w < workers; ++w)
    all.push_back(of_worker(
        w,
        1 + 0.5 * w,
        {normal(count, static_cast<std::uint32_t>(w)), normal(count / 3, 90 + static_cast<std::uint32_t>(w))}));
  return all;
}

}  // namespace

TEST_CASE("slices are views of blocks of 256, and the last have what is left") {
  const Contribution whole = large(1, 1300)[0];
  const auto begins = [&](int slices) {
    std::vector<Dim> found;
    Dim end = 0;
    for (int i = 0; i < slices; ++i) {
      const Contribution part = slice(whole, i, slices);
      CHECK(part.slice == i);
      CHECK(part.slices == slices);
      CHECK(part.whole == std::vector<Dim>{1300, 433});
      if (part.sums[0].count() > 0) CHECK(part.sums[0].raw() == whole.sums[0].raw() + 4 * end);
      found.push_back(end);
      end += part.sums[0].count();
    }
    CHECK(end == 1300);
    return found;
  };
  CHECK(begins(2) == std::vector<Dim>{0, 768});
  CHECK(begins(3) == std::vector<Dim>{0, 512, 1024});
  CHECK(begins(5) == std::vector<Dim>{0, 512, 1024, 1300, 1300});
  CHECK(begins(8) == std::vector<Dim>{0, 256, 512, 768, 1024, 1280, 1300, 1300});
  check_same(slice(whole, 0, 1), whole);
  CHECK(values<float>(slice(whole, 7, 8).mean()).empty());
}

TEST_CASE("slices come back from their bytes with all that they are") {
  for (const int slices : {1, 2, 7})
    for (const Contribution& whole : {large(1)[0], rejected(3), Contribution{}})
      for (int i = 0; i < slices; ++i) {
        const Contribution part = slice(whole, i, slices);
        const std::vector<std::byte> bytes = encode(part, {.elements_in_chunk = 300});
        CHECK(bytes.capacity() == bytes.size());
        check_same(decode(bytes), part);
      }
  const std::vector<std::byte> good = encode(slice(large(1)[0], 1, 2));
  for (std::size_t bit = 0; bit < 8 * 250; ++bit) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << bit % 8;
    REQUIRE_THROWS_AS(decode(bad), DataError);
  }
  // Of the header's body 115 bytes come before the sums' counts; then the slice, the whole sums, and the state.
  const auto forge = [&](std::size_t offset, auto value) {
    std::vector<std::byte> bytes = good;
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    const std::size_t end = 16 + 115 + 2 * 8 + 8 + 2 * 8 + 20;
    const std::uint32_t sum = detail::crc32(std::span(bytes).first(end));
    std::memcpy(bytes.data() + end, &sum, sizeof sum);
    return message_of([&] { decode(bytes, "part 7"); });
  };
  CHECK(forge(147, std::int32_t{1}) == "nothing was thrown");
  CHECK(forge(147, std::int32_t{2}) == "part 7, byte 191: it is slice 2 of 2");
  CHECK(forge(147, std::int32_t{-1}) == "part 7, byte 191: it is slice -1 of 2");
  CHECK(forge(147, std::int32_t{0}) == "part 7, byte 191: sum 0 has 488 elements, which is not slice 0 of 2 of 1000");
  // Without whole sums their bytes are taken for states.
  CHECK(forge(151, std::int32_t{0}).find("ends inside of a worker's state") != std::string::npos);
  CHECK(forge(151, (1 << 20) + 1) == "part 7, byte 191: it is slice 1 of 1048577");
  CHECK(forge(155, std::int64_t{-5}) == "part 7, byte 191: sum 0 has 488 elements, which is not slice 1 of 2 of -5");
  CHECK(
      forge(155, std::int64_t{1} << 60) ==
      "part 7, byte 191: sum 0 has 488 elements, which is not slice 1 of 2 of 1152921504606846976");
}

TEST_CASE("merged slices, joined in any order, are the merged whole contributions to the bit") {
  for (const Dim count : {Dim{0}, Dim{5}, Dim{1000}})
    for (const int slices : {1, 2, 3, 4, 7}) {
      CAPTURE(count);
      CAPTURE(slices);
      ContributionJoiner joiner;
      for (int s = slices - 1; s >= 0; --s) {
        std::vector<Contribution> parts;
        for (const Contribution& whole : large(3, count)) parts.push_back(decode(encode(slice(whole, s, slices))));
        std::swap(parts[0], parts[2]);
        CHECK_FALSE(joiner.complete());
        Contribution merged = merge(std::move(parts));
        joiner.add(merged);
        // It was copied to its place.
        for (Tensor& sum : merged.sums) sum.fill(sparknet::testing::nan);
      }
      CHECK(joiner.complete());
      check_same(joiner.take(), merge(large(3, count)));
      CHECK_FALSE(joiner.complete());
    }
}

TEST_CASE("slices merged one by one are those merged at once") {
  const std::vector<Contribution> parts = large(3);
  Contribution fold;
  std::vector<Contribution> cut;
  for (const Contribution& part : parts) {
    fold.merge(slice(part, 1, 3));
    cut.push_back(copy_of(slice(part, 1, 3)));
  }
  check_same(fold, merge(std::move(cut)));
}

TEST_CASE("slices cut no block of a codec, and each has its part of the residual") {
  for (const Codec codec : {Codec::BF16, Codec::Int8}) {
    const Contribution whole = large(1)[0];
    Tensor residual = normal(1000, 7) * 1e-3;
    Tensor of_slices = residual.copy();
    ContributionJoiner joiner;
    Dim begin = 0;
    for (int s = 0; s < 3; ++s) {
      const Contribution part = slice(whole, s, 3);
      const Dim end = begin + part.sums[0].count();
      const EncodeOptions options{.codec = codec, .residual = of_slices.subarray(Shape{begin}, Shape{end})};
      joiner.add(decode(encode(part, options)));
      begin = end;
    }
    const Contribution rounded = joiner.take();
    CHECK_FALSE(same_bits(rounded.sums[0], whole.sums[0]));
    check_same(rounded, decode(encode(whole, {.codec = codec, .residual = residual})));
    CHECK(same_bits(of_slices, residual));
  }
  CHECK(message_of([&] {
          encode(slice(large(1)[0], 1, 2), {.codec = Codec::Int8, .residual = Tensor({1000})});
        }) == "the residual is f32 [1000]; it is f32, with the 488 elements of the first sum");
}

TEST_CASE("slices of contributions that do not count") {
  ContributionJoiner joiner;
  for (int s = 0; s < 2; ++s) joiner.add(decode(encode(slice(rejected(3), s, 2))));
  check_same(joiner.take(), rejected(3));
  // One that is rejected merges with one that counts.
  for (int s = 0; s < 2; ++s) joiner.add(merge({slice(rejected(3), s, 2), slice(large(1)[0], s, 2)}));
  check_same(joiner.take(), merge({rejected(3), large(1)[0]}));

  const Contribution none = slice({}, 1, 2), some = slice(large(1)[0], 1, 2);
  check_same(merge({none, {}, none}), none);
  check_same(sum_of(none, none), none);
  check_same(sum_of({}, none), none);
  check_same(sum_of(none, {}), none);
  check_same(merge({none, copy_of(some), {}}), some);
  check_same(sum_of(none, some), some);
  check_same(sum_of(some, none), some);
  for (int s = 0; s < 2; ++s) joiner.add(merge({slice({}, s, 2), slice({}, s, 2)}));
  check_same(joiner.take(), {});
  for (const Contribution& other : {slice({}, 0, 2), slice(large(1)[0], 0, 2)}) {
    CHECK(message_of([&] {
            merge({none, other});
          }) == "slice 0 of 2 of a contribution cannot be merged into slice 1 of 2");
    CHECK(message_of([&] {
            sum_of(other, none);
          }) == "slice 1 of 2 of a contribution cannot be merged into slice 0 of 2");
  }
}

TEST_CASE("slices that do not go together are not merged") {
  const std::vector<Contribution> parts = large(2);
  const Contribution a = slice(parts[0], 0, 2);
  const auto refuse = [&](const Contribution& other) {
    Contribution into = copy_of(a);
    const std::string message = message_of([&] { into.merge(other); });
    check_same(into, a);
    CHECK(message_of([&] { merge({copy_of(a), other}); }) == message);
    return message;
  };
  CHECK(refuse(slice(parts[1], 1, 2)) == "slice 1 of 2 of a contribution cannot be merged into slice 0 of 2");
  CHECK(refuse(slice(parts[1], 0, 3)) == "slice 0 of 3 of a contribution cannot be merged into slice 0 of 2");
  CHECK(refuse(parts[1]) == "slice 0 of 1 of a contribution cannot be merged into slice 0 of 2");
  // Of another net, whose slice is as large.
  CHECK(refuse(slice(large(2, 1001)[1], 0, 2)) == "slices of sums of other sizes cannot be merged");

  CHECK(message_of([&] { slice(a, 0, 2); }) == "slice 0 of 2 of a contribution cannot be cut again");
  CHECK(message_of([&] { slice(parts[0], 2, 2); }) == "there is no slice 2 of 2 of a contribution");
  CHECK(message_of([&] { slice(parts[0], -1, 2); }) == "there is no slice -1 of 2 of a contribution");
  CHECK(message_of([&] { slice(parts[0], 0, 0); }) == "there is no slice 0 of 0 of a contribution");
  CHECK(message_of([&] { slice(parts[0], 0, (1 << 20) + 1); }) == "there is no slice 0 of 1048577 of a contribution");
  const auto wrong = [&](auto&& change) {
    Contribution part = a;
    change(part);
    return message_of([&] { encode(part); });
  };
  CHECK(wrong([](Contribution& c) {
          c.whole[0] += 600;
        }) == "a contribution is wrong: sum 0 has 512 elements, which is not slice 0 of 2 of 1600");
  CHECK(wrong([](Contribution& c) {
          c.whole.pop_back();
        }) == "a contribution is wrong: it is slice 0 of 2, of 1 sums, and has 2");
  CHECK(wrong([](Contribution& c) {
          c.slices = 1;
        }) == "a contribution is wrong: it is slice 0 of 1, of 2 sums, and has 2");
  CHECK(wrong([](Contribution& c) { c.slice = 2; }) == "a contribution is wrong: it is slice 2 of 2");
}

TEST_CASE("a joiner refuses what is not a slice of its contribution, and goes on") {
  const Contribution whole = merge({large(2)[1], rejected(4)});
  ContributionJoiner joiner;
  CHECK(message_of([&] { joiner.take(); }) == "no slice of the contribution has come");
  joiner.add(slice(whole, 0, 2));
  CHECK(message_of([&] { joiner.add(slice(whole, 0, 2)); }) == "slice 0 of 2 came already");
  CHECK(message_of([&] { joiner.take(); }) == "slice 1 of 2 of the contribution has not come");

  const auto refuse = [&](auto&& change, int index = 1, int slices = 2) {
    Contribution other = whole;
    change(other);
    return message_of([&] { joiner.add(slice(other, index, slices)); });
  };
  const std::string other = "slice 1 of 2 of a contribution is not of the one whose slices came before: ";
  CHECK(
      refuse([](Contribution&) {}, 1, 3) ==
      "slice 1 of 3 of a contribution is not of the one whose slices came before: those were of 2");
  CHECK(refuse([](Contribution& c) {
          c.schema = 1;
        }) == other + "its schema is 0000000000000001 and theirs 0000000000abcdef");
  CHECK(refuse([](Contribution& c) { c.round = 6; }) == other + "its round is 6 and theirs 5");
  CHECK(refuse([](Contribution& c) {
          c.carries = Carries::Weights;
        }) == other + "it carries weights and they differences");
  CHECK(refuse([](Contribution& c) {
          c.states[1].worker = 5;
        }) == other + "it is of worker 5 at example 28 in pass 3 where they are of worker 4 at example 28 in pass 3");
  CHECK(refuse([](Contribution& c) {
          c.rejected = 0;
          c.states.pop_back();
        }) == other + "it is of none where they are of worker 4 at example 28 in pass 3");
  CHECK(refuse([](Contribution& c) { c.states[0].cursor = 8; }).starts_with(other + "it is of worker 1 at example 8"));
  CHECK(refuse([](Contribution& c) { c.states[0].passes = 4; }).find("in pass 4 where") != std::string::npos);
  CHECK(
      refuse([](Contribution& c) { c.most_seconds = 2; }) ==
      other +
          "it is of another run of the task, for it counts 1 workers and 1 rejected, weight 1.5 in units of 1.5, 25 "
          "steps (14 of one worker), 1285 examples, loss 2.25 in 11 steps, squares 1.5, 7.5 s (2 of one worker) and "
          "they 1 workers and 1 rejected, weight 1.5 in units of 1.5, 25 steps (14 of one worker), 1285 examples, loss "
          "2.25 in 11 steps, squares 1.5, 7.5 s (6 of one worker)");
  const auto recounted = [&](auto&& change) {
    CHECK(refuse(change).starts_with(other + "it is of another run of the task"));
  };
  recounted([](Contribution& c) { c.weight += 1; });
  recounted([](Contribution& c) { c.unit = 1; });
  recounted([](Contribution& c) { ++c.steps; });
  recounted([](Contribution& c) { ++c.most_steps; });
  recounted([](Contribution& c) { ++c.examples; });
  recounted([](Contribution& c) { c.loss_sum = std::nextafter(c.loss_sum, 3.0); });
  recounted([](Contribution& c) { ++c.loss_steps; });
  recounted([](Contribution& c) { c.squares = 0; });
  recounted([](Contribution& c) { c.seconds = 0; });
  const std::string sizes = other + "its sums are of other sizes or of another element type";
  CHECK(refuse([](Contribution& c) { c.sums[1] = normal(332, 1); }) == sizes);
  CHECK(refuse([](Contribution& c) { c.sums.pop_back(); }) == sizes);
  CHECK(refuse([](Contribution& c) {
          for (Tensor& sum : c.sums) sum = sum.cast(DType::F64);
        }) == sizes);

  joiner.add(slice(whole, 1, 2));
  CHECK(message_of([&] { joiner.add(slice(whole, 1, 2)); }) == "slice 1 of 2 came already");
  check_same(joiner.take(), whole);

  // A number that is none is the same in all slices.
  Contribution unknown = whole;
  unknown.loss_sum = sparknet::testing::nan;
  for (int s = 0; s < 2; ++s) joiner.add(slice(unknown, s, 2));
  CHECK(std::isnan(joiner.take().loss_sum));
}
