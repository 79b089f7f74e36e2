#include "sparknet/data/feed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/random.h"
#include "tests/count_allocations.h"

using namespace sparknet;

namespace {

/// Images [2, 6, 5] of random bytes, and their numbers as labels.
SourcePtr images(Dim size) {
  Tensor data({size, 2, 6, 5}, DType::U8), label({size, 1}, DType::I32);
  Random random(3);
  for (std::uint8_t& pixel : data.span<std::uint8_t>()) pixel = static_cast<std::uint8_t>(random.bits());
  for (Dim i = 0; i < size; ++i) label.set<std::int32_t>(static_cast<std::int32_t>(i), i, 0);
  return from_tensors({{"data", data}, {"label", label}});
}

SourcePtr numbers(
    Dim size, std::function<void(Dim)> meanwhile = [](Dim) {}) {
  return from_callback({{"number", {}, DType::I32}}, size, [meanwhile](Dim index, std::span<std::byte* const> out) {
    meanwhile(index);
    const auto number = static_cast<std::int32_t>(index);
    std::memcpy(out[0], &number, sizeof number);
  });
}

std::vector<Dim> next_numbers(Feed& feed, Dim batch) {
  Tensor out({batch});
  feed.next({&out, 1});
  const auto values = out.span<float>();
  return {values.begin(), values.end()};
}

const std::vector<FeedSlot> image_slots = {{"data", {4, 2, 3, 3}}, {"label", {4}}};

FeedOptions training(int prefetch) {
  return {
      .shuffle = true,
      .seed = 5,
      .transforms = {{"data", {.scale = 0.5, .mean_values = {100, 120}, .crop = 3, .mirror = true}}},
      .prefetch = prefetch};
}

std::vector<Tensor> make_batch(const std::vector<FeedSlot>& slots) {
  std::vector<Tensor> batch;
  for (const FeedSlot& slot : slots) batch.emplace_back(slot.shape, slot.dtype);
  return batch;
}

std::string complaint(SourcePtr source, std::vector<FeedSlot> slots, FeedOptions options = {}) {
  try {
    Feed(std::move(source), std::move(slots), std::move(options));
    return "";
  } catch (const DataError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("batches run on across the end of an epoch") {
  for (const int prefetch : {0, 2}) {
    Feed feed(numbers(5), {{"number", {3}}}, {.prefetch = prefetch});
    CHECK(feed.cursor() == 0);
    CHECK(next_numbers(feed, 3) == std::vector<Dim>{0, 1, 2});
    CHECK(next_numbers(feed, 3) == std::vector<Dim>{3, 4, 0});
    CHECK(feed.cursor() == 6);
    CHECK(feed.source().size() == 5);

    Feed large(numbers(2), {{"number", {5}}}, {.prefetch = prefetch});
    CHECK(next_numbers(large, 5) == std::vector<Dim>{0, 1, 0, 1, 0});
    CHECK(next_numbers(large, 5) == std::vector<Dim>{1, 0, 1, 0, 1});
  }
}

TEST_CASE("shuffling visits each example once an epoch, in an order of the seed and the epoch") {
  const auto order = [](std::uint64_t seed, Dim batch) {
    Feed feed(numbers(50), {{"number", {batch}}}, {.shuffle = true, .seed = seed, .prefetch = 0});
    std::vector<Dim> all;
    while (all.size() < 150)
      for (const Dim number : next_numbers(feed, batch)) all.push_back(number);
    all.resize(150);
    return all;
  };
  const std::vector<Dim> all = order(1, 10);
  std::set<std::vector<Dim>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<Dim> one(all.begin() + 50 * epoch, all.begin() + 50 * (epoch + 1));
    epochs.insert(one);
    std::sort(one.begin(), one.end());
    for (Dim i = 0; i < 50; ++i) CHECK(one[static_cast<std::size_t>(i)] == i);
  }
  CHECK(epochs.size() == 3);
  CHECK(order(1, 10) == all);
  CHECK(order(1, 7) == all);  // the batches' size is no part of the order
  CHECK(order(2, 10) != all);
}

TEST_CASE("all orders of a shuffle are equally likely") {
  int seen[6] = {};
  Feed feed(numbers(3), {{"number", {3}}}, {.shuffle = true, .prefetch = 0});
  for (int epoch = 0; epoch < 6000; ++epoch) {
    const std::vector<Dim> order = next_numbers(feed, 3);
    ++seen[2 * order[0] + (order[1] > order[2])];
  }
  for (const int count : seen) CHECK(std::abs(count - 1000) < 5 * 29);
}

TEST_SUITE("threads") {
  TEST_CASE("what a feed gives does not depend on prefetching") {
    const SourcePtr source = images(11);
    std::vector<std::vector<Tensor>> expected;
    Feed plain(source, image_slots, training(0));
    for (int i = 0; i < 20; ++i) {
      std::vector<Tensor>& batch = expected.emplace_back(make_batch(image_slots));
      plain.next(batch);
    }
    for (const int prefetch : {1, 3}) {
      Feed feed(source, image_slots, training(prefetch));
      std::vector<Tensor> batch = make_batch(image_slots);
      for (const auto& wanted : expected) {
        feed.next(batch);
        CHECK_UNARY(batch == wanted);
      }
      CHECK(feed.cursor() == plain.cursor());
    }
  }

  TEST_CASE("seek goes to any example, from anywhere") {
    const SourcePtr source = images(11);
    Feed plain(source, image_slots, training(0));
    std::vector<Tensor> wanted = make_batch(image_slots), batch = make_batch(image_slots);
    for (const int prefetch : {0, 1, 3}) {
      Feed feed(source, image_slots, training(prefetch));
      Random random(8);
      for (int round = 0; round < 100; ++round) {
        const auto cursor = static_cast<std::int64_t>(random.below(60));
        feed.seek(cursor);
        CHECK(feed.cursor() == cursor);
        plain.seek(cursor);
        for (std::uint64_t i = random.below(4); i > 0; --i) {
          feed.next(batch);
          plain.next(wanted);
          CHECK_UNARY(batch == wanted);
        }
        CHECK(feed.cursor() == plain.cursor());
      }
      CHECK_THROWS_WITH_AS(feed.seek(-1), "feed: seek to example -1", ShapeError);
    }
  }

  TEST_CASE("the feeds of all parts together give each example once an epoch") {
    const SourcePtr whole = images(30);
    std::multiset<int> seen;
    for (int part = 0; part < 3; ++part) {
      Feed feed(partition(whole, part, 3), {{"label", {5}}}, {.shuffle = true, .seed = 1});
      for (int i = 0; i < 2; ++i)
        for (const Dim label : next_numbers(feed, 5)) seen.insert(static_cast<int>(label));
    }
    REQUIRE(seen.size() == 30);
    for (int i = 0; i < 30; ++i) CHECK(seen.count(i) == 1);
  }

  TEST_CASE("what the source throws is thrown by next, and another try goes on from there") {
    for (const int prefetch : {0, 1, 3}) {
      CAPTURE(prefetch);
      std::atomic<bool> broken = true;
      const SourcePtr source = numbers(100, [&](Dim index) {
        if (index == 7 && broken) throw DataError("tape", 7, "torn");
      });
      Feed feed(source, {{"number", {3}}}, {.prefetch = prefetch});
      CHECK(next_numbers(feed, 3) == std::vector<Dim>{0, 1, 2});
      CHECK(next_numbers(feed, 3) == std::vector<Dim>{3, 4, 5});
      CHECK_THROWS_WITH_AS(next_numbers(feed, 3), "tape, byte 7: torn", DataError);
      CHECK_THROWS_WITH_AS(next_numbers(feed, 3), "tape, byte 7: torn", DataError);
      CHECK(feed.cursor() == 6);
      broken = false;
      CHECK(next_numbers(feed, 3) == std::vector<Dim>{6, 7, 8});
      broken = true;
      feed.seek(8);
      CHECK(next_numbers(feed, 3) == std::vector<Dim>{8, 9, 10});
    }
  }

  TEST_CASE("a feed ends and seeks at once, whatever its thread does") {
    // From example 1 on, a batch takes at least ten seconds.
    std::atomic<bool> slow = false;
    const SourcePtr source = numbers(10'000, [&](Dim index) {
      if (slow && index > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    const auto start = std::chrono::steady_clock::now();
    {
      Feed feed(source, {{"number", {10'000}}}, {});
      next_numbers(feed, 10'000);
      slow = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      feed.seek(0);
      slow = false;
      CHECK(next_numbers(feed, 10'000)[9'999] == 9'999);
      slow = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    { const Feed never_asked(source, {{"number", {10'000}}}, {}); }
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  }

  TEST_CASE("a prefetching thread stays ahead by as many batches as it is told, and no more") {
    std::atomic<int> made = 0;
    Feed feed(numbers(1000, [&](Dim) { ++made; }), {{"number", {2}}}, {.prefetch = 3});
    next_numbers(feed, 2);
    for (int i = 0; i < 1000 && made < 8; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(made == 8);
  }

  TEST_CASE("only the first batch allocates") {
    const std::size_t none = allocations();
    ::operator delete(::operator new(1));
    CHECK(allocations() > none);
    for (const int prefetch : {0, 3}) {
      Feed feed(images(11), image_slots, training(prefetch));
      std::vector<Tensor> batch = make_batch(image_slots);
      feed.next(batch);
      const std::size_t before = allocations();
      for (int i = 0; i < 50; ++i) feed.next(batch);
      feed.seek(3);
      for (int i = 0; i < 50; ++i) feed.next(batch);
      CHECK(allocations() == before);
    }
  }
}

TEST_CASE("slots take columns by name, in f32 or f64, and single values in any shape") {
  const std::vector<FeedSlot> slots = {{"label", {3, 1, 1}, DType::F64}, {"data", {3, 2, 6, 5}}, {"label", {3}}};
  const SourcePtr source = images(4);
  Feed feed(source, slots, {});
  std::vector<Tensor> batch = make_batch(slots);
  feed.next(batch);
  feed.next(batch);
  CHECK_UNARY(batch[0] == Tensor::from<double>({3, 1, 1}, {3, 0, 1}));
  CHECK_UNARY(batch[2] == Tensor::from<float>({3}, {3, 0, 1}));
  const float first = std::to_integer<std::uint8_t>(source->example(3, 0, nullptr)[0]);
  CHECK(batch[1].get<float>(0, 0, 0, 0) == first);
}

TEST_CASE("what is stored and where it lies in the image make the values") {
  Tensor mean({2, 6, 5});
  Random random(8);
  for (float& value : mean.span<float>()) value = static_cast<float>(random.uniform(0, 255));
  const std::vector<FeedSlot> slots = {
      {"data", {4, 2, 3, 3}},
      {"data", {4, 2, 3, 3}, DType::U8, FeedPart::Stored},
      {"data", {4, 3}, DType::I32, FeedPart::Placement},
      {"label", {4}, DType::I32, FeedPart::Stored}};
  for (const bool drawn : {true, false}) {
    FeedOptions options = training(2);
    options.transforms = {{"data", {.scale = 0.5, .mean = mean, .crop = 3, .mirror = true}}};
    options.random = drawn;
    Feed feed(images(11), slots, options), other(images(11), {{"label", {4}}}, options);
    std::vector<Tensor> batch = make_batch(slots);
    Tensor label({4});
    bool flips = false;
    for (int round = 0; round < 6; ++round) {
      feed.next(batch);
      other.next({&label, 1});
      CHECK_UNARY(batch[3].cast(DType::F32) == label);
      for (Dim n = 0; n < 4; ++n) {
        const Dim top = batch[2].get<std::int32_t>(n, 0), left = batch[2].get<std::int32_t>(n, 1);
        const bool flip = batch[2].get<std::int32_t>(n, 2) != 0;
        flips = flips || flip;
        for (Dim c = 0; c < 2; ++c)
          for (Dim y = 0; y < 3; ++y)
            for (Dim x = 0; x < 3; ++x) {
              const float stored = batch[1].get<std::uint8_t>(n, c, y, x);
              const float subtracted = mean.get<float>(c, top + y, left + (flip ? 2 - x : x));
              CHECK(batch[0].get<float>(n, c, y, x) == (stored - subtracted) * 0.5F);
            }
      }
    }
    CHECK(flips == drawn);
  }
}

TEST_CASE("next wants the tensors that the slots promise") {
  Feed feed(images(4), image_slots, training(1));
  std::vector<Tensor> batch = make_batch(image_slots);
  CHECK_THROWS_WITH_AS(feed.next({batch.data(), 1}), "feed: 1 tensors for 2 slots", ShapeError);
  batch[1] = Tensor({5});
  CHECK_THROWS_WITH_AS(feed.next(batch), "feed: the tensor for \"label\" is [5] and its slot is [4]", ShapeError);
  batch[1] = Tensor({4}, DType::F64);
  CHECK_THROWS_WITH_AS(feed.next(batch), "feed: the tensor for \"label\" is f64 and its slot is f32", DTypeError);
  batch[1] = Tensor({4, 2}).slice(1, 0);
  CHECK_THROWS_WITH_AS(
      feed.next(batch),
      "feed: the tensor for \"label\" is a strided view; give a dense one",
      ShapeError);
  batch[1] = Tensor();
  CHECK_THROWS_WITH_AS(feed.next(batch), "feed: the tensor for \"label\" is undefined", ShapeError);
  CHECK(feed.cursor() == 0);
}

TEST_CASE("a feed that makes no sense is refused") {
  const SourcePtr source = images(4);
  CHECK(complaint(source, image_slots, training(0)) == "");
  CHECK(
      complaint(source, {{"image", {4, 1}}}) ==
      "column \"image\": the source has no such column; it has \"data\", \"label\"");
  CHECK(
      complaint(source, {{"label", {4}}}, {.transforms = {{"dta", {}}}}) ==
      "column \"dta\": the source has no such column; it has \"data\", \"label\"");
  CHECK(
      complaint(source, {{"data", {4, 1, 28, 28}}}) ==
      "column \"data\": the slot [4, 1, 28, 28] takes examples [1, 28, 28], and these are [2, 6, 5]");
  CHECK(
      complaint(source, {{"data", {4, 2, 6, 5}}}, {.transforms = {{"data", {.crop = 3}}}}) ==
      "column \"data\": the slot [4, 2, 6, 5] takes examples [2, 6, 5], and these are [2, 3, 3] after the crop");
  CHECK(
      complaint(source, {{"data", {4, 60}}}) ==
      "column \"data\": the slot [4, 60] takes examples [60], and these are [2, 6, 5]");
  CHECK(complaint(source, {{"label", {}}}) == "column \"label\": the slot [] has no room for an example");
  CHECK(complaint(source, {{"label", {0, 1}}}) == "column \"label\": the slot [0, 1] has no room for an example");
  CHECK(
      complaint(source, {{"data", {4, 2, 6, 5}}, {"label", {3, 1}}}) ==
      "column \"label\": the slot [3, 1] takes 3 examples, and the slot [4, 2, 6, 5] of \"data\" takes 4");
  CHECK(complaint(numbers(0), {{"number", {1}}}) == "column \"number\": the source has no examples");

  const auto transformed = [&](Transform transform, const std::string& column = "data") {
    return complaint(source, {{column, {4, 1}}}, {.transforms = {{column, transform}}});
  };
  CHECK(
      transformed({.mean_values = {1}, .mean = Tensor({2, 6, 5})}) ==
      "column \"data\": mean and mean_values are both given; take one");
  CHECK(
      transformed({.mean_values = {1, 2, 3}}) ==
      "column \"data\": 3 mean values for an example [2, 6, 5] of 2 channels; give one for each channel, or one for "
      "all");
  CHECK(
      transformed({.mean_values = {1, 2}}, "label") ==
      "column \"label\": 2 mean values for an example [1] of 1 channel; give one for each channel, or one for all");
  CHECK(
      transformed({.mean = Tensor({2, 3, 3})}) == "column \"data\": the mean is [2, 3, 3] and an example is [2, 6, 5]");
  CHECK(transformed({.crop = 6}) == "column \"data\": a square of side 6 cannot be cut out of [2, 6, 5]");
  CHECK(transformed({.crop = -1}) == "column \"data\": a square of side -1 cannot be cut out of [2, 6, 5]");
  CHECK(
      transformed({.crop = 1}, "label") ==
      "column \"label\": crop wants an image [channels, height, width], and an example is [1]");
  CHECK(
      transformed({.mirror = true}, "label") ==
      "column \"label\": mirror wants an image [channels, height, width], and an example is [1]");

  CHECK_THROWS_WITH_AS(
      Feed(source, {{"label", {4}, DType::U8}}, {}),
      "column \"label\": a slot is f32 or f64, not u8",
      DTypeError);
  CHECK_THROWS_WITH_AS(
      Feed(source, {{"data", {4, 2, 6, 5}, DType::F32, FeedPart::Stored}}, {}),
      "column \"data\": a slot for examples as they are stored is u8, as the column is, not f32",
      DTypeError);
  CHECK_THROWS_WITH_AS(
      Feed(source, {{"data", {4, 3}, DType::F32, FeedPart::Placement}}, {}),
      "column \"data\": a slot for placements is i32, not f32",
      DTypeError);
  CHECK(
      complaint(source, {{"data", {4, 2}, DType::I32, FeedPart::Placement}}) ==
      "column \"data\": the slot [4, 2] takes placements, which are [N, 3]");
  CHECK_THROWS_WITH_AS(Feed(source, {}, {}), "feed: there is no slot to fill", Error);
  CHECK_THROWS_WITH_AS(Feed(nullptr, image_slots, {}), "feed: there is no source", Error);
  CHECK_THROWS_WITH_AS(
      Feed(source, {{"label", {4}}}, {.prefetch = -1}),
      "feed: prefetch is -1, and it is a number of batches, or 0",
      Error);
}
