#include "sparknet/data/feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "sparknet/error.h"
#include "sparknet/random.h"
#include "src/data/transform.h"

namespace sparknet {
namespace {

[[noreturn]] void fail(const std::string& column, const std::string& why) {
  throw DataError(fmt::format("column \"{}\"", column), -1, why);
}

std::size_t find_column(const DataSource& source, const std::string& name) {
  const int column = source.column(name);
  if (column >= 0) return static_cast<std::size_t>(column);
  std::string names;
  for (const Column& other : source.columns()) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", other.name);
  fail(name, "the source has no such column; it has " + names);
}

/// One column on its way to a batch.
struct Input {
  std::size_t column;
  std::unique_ptr<const detail::Transformer> transformer;
  std::unique_ptr<std::byte[]> buffer;  // for sources that have no memory of their own
  std::size_t stride;                   // bytes from one example of the batch to the next
};

void check_type(const FeedSlot& slot, const Column& column) {
  const auto refuse = [&](const std::string& wanted) {
    throw DTypeError(fmt::format("column \"{}\": a slot {}, not {}", slot.name, wanted, to_string(slot.dtype)));
  };
  switch (slot.part) {
    case FeedPart::Values:
      if (slot.dtype != DType::F32 && slot.dtype != DType::F64) refuse("is f32 or f64");
      break;
    case FeedPart::Stored:
      if (slot.dtype != column.dtype)
        refuse(fmt::format("for examples as they are stored is {}, as the column is", to_string(column.dtype)));
      break;
    case FeedPart::Placement:
      if (slot.dtype != DType::I32) refuse("for placements is i32");
  }
}

Input make_input(const DataSource& source, const FeedSlot& slot, const FeedOptions& options) {
  if (slot.shape.empty() || slot.shape[0] < 1)
    fail(slot.name, fmt::format("the slot {} has no room for an example", to_string(slot.shape)));

  const std::size_t number = find_column(source, slot.name);
  const Column& column = source.columns()[number];
  check_type(slot, column);
  const auto transform = options.transforms.find(slot.name);
  const bool transformed = transform != options.transforms.end();
  std::unique_ptr<const detail::Transformer> transformer = detail::make_transformer(
      column,
      transformed ? transform->second : Transform{},
      options.random,
      slot.dtype,
      slot.part);

  const Shape wanted(std::span<const Dim>(slot.shape.begin() + 1, slot.shape.end()));
  const Shape& given = transformer->shape();
  if (wanted != given && !(wanted.count() == 1 && given.count() == 1))
    fail(
        slot.name,
        slot.part == FeedPart::Placement
            ? fmt::format("the slot {} takes placements, which are [N, 3]", to_string(slot.shape))
            : fmt::format(
                  "the slot {} takes examples {}, and these are {}{}",
                  to_string(slot.shape),
                  to_string(wanted),
                  to_string(given),
                  given == column.shape ? "" : " after the crop"));
  const std::size_t stride = static_cast<std::size_t>(wanted.count()) * size_of(slot.dtype);
  return {number, std::move(transformer), std::make_unique<std::byte[]>(column.bytes()), stride};
}

}  // namespace

struct Feed::State {
  State(SourcePtr from, std::vector<FeedSlot> wanted, FeedOptions how);
  ~State();

  /// Makes the batch that begins with example number `first` of all epochs; gives up early where `abandon` is set.
  void make(std::int64_t first, std::span<Tensor> out);
  Dim index_of(std::int64_t example);

  void check(std::span<const Tensor> out) const;
  void take(std::span<Tensor> out);
  void restart();
  void prefetch();

  SourcePtr source;
  std::vector<FeedSlot> slots;
  FeedOptions options;
  Dim batch = 0;
  std::int64_t cursor = 0;

  // Of the one thread that makes batches.
  std::vector<Input> inputs;
  std::vector<Dim> order;
  std::int64_t order_epoch = -1;

  // Batches made ahead: `ready` of them from `head` on, the first beginning at `cursor`.
  struct Ahead {
    std::vector<Tensor> tensors;
    std::exception_ptr error;
  };
  std::vector<Ahead> ring;
  std::size_t head = 0, ready = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> abandon = false;  // the batch being made is unwanted: `cursor` has moved, or the end is near
  bool failed = false;                // the last batch made ahead is an error, and no more are made
  bool stop = false;
  std::thread thread;
};

Feed::State::State(SourcePtr from, std::vector<FeedSlot> wanted, FeedOptions how)
    : source(std::move(from)), slots(std::move(wanted)), options(std::move(how)) {
  if (!source) throw Error("feed: there is no source");
  if (slots.empty()) throw Error("feed: there is no slot to fill");
  if (options.prefetch < 0)
    throw Error(fmt::format("feed: prefetch is {}, and it is a number of batches, or 0", options.prefetch));
  for (const auto& [name, transform] : options.transforms) find_column(*source, name);
  for (const FeedSlot& slot : slots) {
    inputs.push_back(make_input(*source, slot, options));
    if (slot.shape[0] != slots[0].shape[0])
      fail(
          slot.name,
          fmt::format(
              "the slot {} takes {} examples, and the slot {} of \"{}\" takes {}",
              to_string(slot.shape),
              slot.shape[0],
              to_string(slots[0].shape),
              slots[0].name,
              slots[0].shape[0]));
  }
  if (source->size() < 1) fail(slots[0].name, "the source has no examples");
  batch = slots[0].shape[0];
  if (options.shuffle) order.resize(static_cast<std::size_t>(source->size()));
  ring.resize(static_cast<std::size_t>(options.prefetch));
  for (Ahead& ahead : ring)
    for (const FeedSlot& slot : slots) ahead.tensors.emplace_back(slot.shape, slot.dtype);
}

Feed::State::~State() {
  {
    const std::lock_guard lock(mutex);
    stop = true;
    abandon = true;
  }
  changed.notify_all();
  if (thread.joinable()) thread.join();
}

Dim Feed::State::index_of(std::int64_t example) {
  const Dim size = source->size(), position = example % size;
  if (!options.shuffle) return position;
  const std::int64_t epoch = example / size;
  if (epoch != order_epoch) {
    std::iota(order.begin(), order.end(), Dim{0});
    Random random(options.seed, static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[static_cast<std::size_t>(random.below(i + 1))]);
    order_epoch = epoch;
  }
  return order[static_cast<std::size_t>(position)];
}

void Feed::State::make(std::int64_t first, std::span<Tensor> out) {
  for (Dim n = 0; n < batch && !abandon.load(std::memory_order_relaxed); ++n) {
    const std::int64_t example = first + n;
    const Dim index = index_of(example);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Input& input = inputs[i];
      const std::byte* const bytes = source->example(index, input.column, input.buffer.get());
      input.transformer->apply(
          bytes,
          out[i].raw() + static_cast<std::size_t>(n) * input.stride,
          input.transformer->place(options.seed, static_cast<std::uint64_t>(example)));
    }
  }
}

void Feed::State::check(std::span<const Tensor> out) const {
  if (out.size() != slots.size())
    throw ShapeError(fmt::format("feed: {} tensors for {} slots", out.size(), slots.size()));
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const FeedSlot& slot = slots[i];
    if (!out[i].defined()) throw ShapeError(fmt::format("feed: the tensor for \"{}\" is undefined", slot.name));
    if (out[i].device() != Device::cpu())
      throw DeviceError(
          fmt::format("feed: the tensor for \"{}\" is on {}, not on the cpu", slot.name, to_string(out[i].device())));
    if (out[i].dtype() != slot.dtype)
      throw DTypeError(fmt::format(
          "feed: the tensor for \"{}\" is {} and its slot is {}",
          slot.name,
          to_string(out[i].dtype()),
          to_string(slot.dtype)));
    if (out[i].shape() != slot.shape)
      throw ShapeError(fmt::format(
          "feed: the tensor for \"{}\" is {} and its slot is {}",
          slot.name,
          to_string(out[i].shape()),
          to_string(slot.shape)));
    if (!out[i].is_contiguous())
      throw ShapeError(fmt::format("feed: the tensor for \"{}\" is a strided view; give a dense one", slot.name));
  }
}

void Feed::State::take(std::span<Tensor> out) {
  if (!thread.joinable()) thread = std::thread(&State::prefetch, this);
  std::unique_lock lock(mutex);
  if (failed && ready == 0) {  // the error was thrown before, and this is another try
    restart();
    changed.notify_all();
  }
  changed.wait(lock, [&] { return ready > 0; });
  Ahead& ahead = ring[head];
  if (ahead.error) {
    ready = 0;
    std::rethrow_exception(std::exchange(ahead.error, nullptr));
  }

  lock.unlock();  // what is ready is left alone by the other thread
  for (std::size_t i = 0; i < out.size(); ++i)
    std::memcpy(out[i].raw(), ahead.tensors[i].raw(), static_cast<std::size_t>(batch) * inputs[i].stride);
  lock.lock();
  head = (head + 1) % ring.size();
  --ready;
  cursor += batch;
  lock.unlock();
  changed.notify_all();
}

void Feed::State::restart() {
  head = ready = 0;
  failed = false;
  abandon = true;
}

void Feed::State::prefetch() {
  std::unique_lock lock(mutex);
  std::int64_t first = cursor;
  while (true) {
    changed.wait(lock, [&] { return abandon || (ready < ring.size() && !failed); });
    if (stop) return;
    if (abandon) {
      abandon = false;
      first = cursor;
    }
    Ahead& ahead = ring[(head + ready) % ring.size()];
    lock.unlock();
    ahead.error = nullptr;
    try {
      make(first, ahead.tensors);
    } catch (...) {
      ahead.error = std::current_exception();
    }
    lock.lock();
    if (abandon) continue;
    failed = ahead.error != nullptr;
    first += batch;
    ++ready;
    changed.notify_all();
  }
}

Feed::Feed(SourcePtr source, std::vector<FeedSlot> slots, FeedOptions options)
    : state_(std::make_unique<State>(std::move(source), std::move(slots), std::move(options))) {}

Feed::~Feed() = default;

void Feed::next(std::span<Tensor> out) {
  state_->check(out);
  if (!state_->ring.empty()) return state_->take(out);
  state_->make(state_->cursor, out);
  state_->cursor += state_->batch;
}

std::int64_t Feed::cursor() const {
  return state_->cursor;
}

void Feed::seek(std::int64_t cursor) {
  if (cursor < 0) throw ShapeError(fmt::format("feed: seek to example {}", cursor));
  {
    const std::lock_guard lock(state_->mutex);
    state_->cursor = cursor;
    if (state_->thread.joinable()) state_->restart();
  }
  state_->changed.notify_all();
}

const DataSource& Feed::source() const {
  return *state_->source;
}

}  // namespace sparknet
