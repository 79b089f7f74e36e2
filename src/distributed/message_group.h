#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sparknet/distributed/communicator.h"
#include "sparknet/error.h"
#include "src/distributed/agreement.h"
#include "src/distributed/ordered_sum.h"

namespace sparknet::detail {

/// Nothing can be sent or received any more; says why.
struct TransportError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A group whose members send each other messages. A Transport has
///
///   - `Requests`, messages that are under way, empty at first, with clear();
///   - rank(), size() and works_on_any_thread();
///   - receive(bytes, from, tag, requests) and send(bytes, to, tag, requests), which begin one and return. Messages
///     between two members with one tag arrive in the order in which they were sent;
///   - are_done(requests, deadline), which waits for all of them until then and says whether they are;
///   - missing(requests): after that said false, the members with whom one is not done;
///   - finish(): after a last meeting of all, when nothing is under way.
///
/// They throw TransportError.
template <class Transport>
class MessageGroup final : public Communicator {
 public:
  using Clock = std::chrono::steady_clock;

  /// `timeout` is that of each exchange before the first barrier that gives one, and of the end.
  template <class... Args>
  explicit MessageGroup(std::chrono::nanoseconds timeout, Args&&... args)
      : transport_(std::forward<Args>(args)...), timeout_(timeout), end_timeout_(timeout) {
    // Each begins with another one, so that not all send to the same.
    for (int step = 1; step < size(); ++step) others_.push_back((rank() + step) % size());
  }

  ~MessageGroup() override {
    if (abandoned_ || std::uncaught_exceptions() > exceptions_) return;
    try {
      leave();
    } catch (const std::exception&) {
    }
  }

  MessageGroup(const MessageGroup&) = delete;
  MessageGroup& operator=(const MessageGroup&) = delete;

  int rank() const override { return transport_.rank(); }
  int size() const override { return transport_.size(); }
  bool works_on_any_thread() const override { return transport_.works_on_any_thread(); }

  /// Who went sooner than the others would take along what they have not read yet.
  void leave() override {
    if (abandoned_) return;
    meet({{Call::End}, end_timeout_});
    abandoned_ = true;
    broken_ = fmt::format("rank {} of {}: this member has left its group", rank(), size());
    transport_.finish();
  }
  void abandon() override { abandoned_ = true; }

  Attendance barrier(std::chrono::nanoseconds timeout, int) override {
    meet({{Call::Barrier}, timeout});
    if (timeout.count() > 0) timeout_ = timeout;
    Attendance all;
    all.present.resize(cards_.size());
    std::iota(all.present.begin(), all.present.end(), 0);
    return all;
  }

  /// Each member hands its share of every piece, which it has from the root, on to the others.
  void broadcast(Tensor& values, int root) override {
    check_root(root, size());
    const Exchange exchange = bring(values, {.call = Call::Broadcast, .root = root});
    const Pieces pieces(values, size());
    const auto hand_out = [&](std::size_t piece, Requests& requests) {
      if (rank() != root) return receive(pieces.share(piece, rank()), root, ShareTag, requests);
      for (const int to : others_) send(pieces.share(piece, to), to, ShareTag, requests);
    };
    run(
        pieces,
        exchange,
        hand_out,
        [](std::size_t) {},
        [&](int member) { return member != root; });
  }

  void all_reduce_sum(Tensor& values) override { all_reduce_mean(values, 1, 1); }

  /// Each member sums its share of every piece for all.
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    check_summable(values.dtype());
    const Exchange exchange = bring(values, {.call = Call::Sum, .scale = scale});
    const Pieces pieces(values, size());
    if (!scratch_.defined()) scratch_ = Tensor(Shape{2 * cards_.size() * pieces.longest()}, DType::U8);
    const auto scratch = [&](std::size_t piece, int member) {
      return scratch_.raw() + (piece % 2 * cards_.size() + at(member)) * pieces.longest();
    };
    const auto gather = [&](std::size_t piece, Requests& requests) {
      for (const int other : others_) {
        receive({scratch(piece, other), pieces.share(piece, rank()).size()}, other, ShareTag, requests);
        send(pieces.share(piece, other), other, ShareTag, requests);
      }
    };
    std::vector<Addend> addends(cards_.size());
    const auto sum = [&](std::size_t piece) {
      const std::span<std::byte> mine = pieces.share(piece, rank());
      for (int member = 0; member < size(); ++member)
        addends[at(member)] = {member == rank() ? mine.data() : scratch(piece, member), cards_[at(member)].scale};
      std::byte* const result = mine.data();
      ordered_mean(values.dtype(), mine.size() / size_of(values.dtype()), addends, divisor, {&result, 1});
    };
    run(pieces, exchange, gather, sum, [](int) { return true; });
  }

 private:
  using Requests = typename Transport::Requests;

  enum class Call : std::uint8_t { Barrier, Broadcast, Sum, End };

  /// What the members show each other before an exchange.
  struct Card {
    Call call;
    int root = 0;
    DType dtype = DType::F32;
    Shape shape = {};
    double scale = 1;
  };
  static_assert(std::is_trivially_copyable_v<Card>);

  static std::string name_of(const Card& card) {
    switch (card.call) {
      case Call::Barrier: return "the barrier";
      case Call::Broadcast: return fmt::format("the broadcast of rank {}", card.root);
      case Call::Sum: return "the sum";
      case Call::End: return "the end";
    }
    return {};
  }

  /// An exchange that began and has a time to be done in; 0: any.
  struct Exchange {
    Card card;
    std::chrono::nanoseconds timeout;
    Clock::time_point begin = Clock::now();

    double seconds() const { return std::chrono::duration<double>(timeout).count(); }
    Clock::time_point deadline() const { return timeout.count() > 0 ? begin + timeout : Clock::time_point::max(); }
  };

  /// The elements of a tensor in pieces, each with a share for every member. A piece is long enough to be sent at full
  /// speed and short enough to be summed from the caches.
  class Pieces {
   public:
    Pieces(Tensor& values, int members)
        : data_(values.raw()), bytes_(values.bytes()), members_(static_cast<std::size_t>(members)) {}

    std::size_t count() const { return (bytes_ + size - 1) / size; }
    std::span<std::byte> share(std::size_t piece, int member) const {
      const std::size_t begin = piece * size, length = std::min(size, bytes_ - begin);
      const auto border = [&](std::size_t of) { return of == members_ ? length : length * of / members_ & ~63UL; };
      const std::size_t first = border(static_cast<std::size_t>(member));
      return {data_ + begin + first, border(static_cast<std::size_t>(member) + 1) - first};
    }
    /// No share is longer; a multiple of 64, as their borders are.
    std::size_t longest() const { return (size / members_ + 127) & ~63UL; }

   private:
    static constexpr std::size_t size = 1UL << 21;

    std::byte* data_;
    std::size_t bytes_, members_;
  };

  /// The order of messages is known, so that no exchange needs a tag of its own.
  enum Tag : int { CardTag, ShareTag, ResultTag };

  static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

  /// After this nothing of what is under way ends, and nothing new begins.
  [[noreturn]] void break_off(const std::string& why) {
    broken_ = fmt::format("rank {} of {}: {}", rank(), size(), why);
    throw Error(broken_);
  }

  template <class F>
  auto attempt(F&& what) {
    try {
      return what();
    } catch (const TransportError& error) {
      break_off(error.what());
    }
  }

  void receive(std::span<std::byte> bytes, int from, Tag tag, Requests& requests) {
    if (!bytes.empty()) attempt([&] { transport_.receive(bytes, from, tag, requests); });
  }

  void send(std::span<const std::byte> bytes, int to, Tag tag, Requests& requests) {
    if (!bytes.empty()) attempt([&] { transport_.send(bytes, to, tag, requests); });
  }

  bool are_done(Requests& requests, const Exchange& exchange) {
    return attempt([&] { return transport_.are_done(requests, exchange.deadline()); });
  }

  /// Of every piece: starts the exchange of shares, waits for it, works on the own share and sends it to all who want
  /// it. The shares of the next piece are on their way meanwhile.
  template <class Start, class Work, class Wants>
  void run(const Pieces& pieces, const Exchange& exchange, Start start, Work work, Wants wants) {
    Requests started[2], results[2];
    if (pieces.count() > 0) start(0, started[0]);
    for (std::size_t piece = 0; piece < pieces.count(); ++piece) {
      if (piece + 1 < pieces.count()) start(piece + 1, started[(piece + 1) % 2]);
      // When this is done the shares that were for the others have left, and the results may come in their place.
      wait(started[piece % 2], exchange);
      work(piece);
      wait(results[piece % 2], exchange);
      for (const int other : others_) {
        if (wants(rank())) receive(pieces.share(piece, other), other, ResultTag, results[piece % 2]);
        if (wants(other)) send(pieces.share(piece, rank()), other, ResultTag, results[piece % 2]);
      }
    }
    for (Requests& requests : results) wait(requests, exchange);
  }

  void wait(Requests& requests, const Exchange& exchange) {
    if (!are_done(requests, exchange))
      break_off(fmt::format(
          "{} was not done within {:g} s; a rank hangs or is gone",
          name_of(exchange.card),
          exchange.seconds()));
    requests.clear();
  }

  /// Waits for all members and fills `cards_`. Throws on every one where one makes another call.
  void meet(const Exchange& exchange) {
    if (!broken_.empty()) throw Error(broken_);
    cards_.assign(at(size()), exchange.card);
    Requests requests;
    for (const int member : others_) {
      receive(std::as_writable_bytes(std::span(&cards_[at(member)], 1)), member, CardTag, requests);
      send(std::as_bytes(std::span(&cards_[at(rank())], 1)), member, CardTag, requests);
    }
    if (!are_done(requests, exchange)) report_missing(requests, exchange);
    for (int member = 0; member < size(); ++member)
      if (cards_[at(member)].call == Call::End && exchange.card.call != Call::End)
        break_off(fmt::format("rank {} has left the group, so this one cannot go on", member));
    for (int member = 0; member < size(); ++member)
      if (const Card& other = cards_[at(member)]; other.call != exchange.card.call || other.root != exchange.card.root)
        throw Error(fmt::format(
            "rank {} of {}: rank {} came to {} and this one to {}; all must make the same calls in the same order",
            rank(),
            size(),
            member,
            name_of(other),
            name_of(exchange.card)));
  }

  [[noreturn]] void report_missing(Requests& requests, const Exchange& exchange) {
    std::vector<int> missing = attempt([&] { return transport_.missing(requests); });
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    break_off(fmt::format(
        "{} {} did not come to {} within {:g} s; {}",
        missing.size() == 1 ? "rank" : "ranks",
        fmt::join(missing, ", "),
        name_of(exchange.card),
        exchange.seconds(),
        missing.size() == 1 ? "it hangs or is gone" : "they hang or are gone"));
  }

  /// Begins the exchange of a tensor. Throws on every member where one brings a tensor unlike that of the root.
  Exchange bring(const Tensor& values, Card card) {
    check_dense(values);
    card.dtype = values.dtype();
    card.shape = values.shape();
    const Exchange exchange{card, timeout_};
    meet(exchange);
    const Card& wanted = cards_[at(card.root)];
    for (int member = 0; member < size(); ++member) {
      const Card& other = cards_[at(member)];
      const std::string mismatch =
          find_mismatch(member, other.dtype, other.shape, card.root, wanted.dtype, wanted.shape);
      if (!mismatch.empty()) throw ShapeError(mismatch);
    }
    return exchange;
  }

  Transport transport_;
  std::vector<int> others_;
  const int exceptions_ = std::uncaught_exceptions();
  /// Whether the destructor has nothing to do.
  bool abandoned_ = false;
  std::chrono::nanoseconds timeout_, end_timeout_;
  /// Of the last meeting.
  std::vector<Card> cards_;
  Tensor scratch_;
  /// Why nothing can be exchanged any more; empty: it can.
  std::string broken_;
};

}  // namespace sparknet::detail
