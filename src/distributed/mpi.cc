#include "sparknet/distributed/mpi.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "sparknet/error.h"
#include "src/distributed/agreement.h"
#include "src/distributed/ordered_sum.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;
using Requests = std::vector<MPI_Request>;

enum class Call : std::uint8_t { Start, Barrier, Broadcast, Sum, End };

/// What the ranks show each other before an exchange.
struct Card {
  Call call;
  int root = 0;
  DType dtype = DType::F32;
  Shape shape = {};
  double scale = 1;
};
static_assert(std::is_trivially_copyable_v<Card>);

std::string name_of(const Card& card) {
  switch (card.call) {
    case Call::Start: return "the start";
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
};

/// The elements of a tensor in pieces, each with a share for every rank. A piece is long enough to be sent at full
/// speed and short enough to be summed from the caches.
class Pieces {
 public:
  Pieces(Tensor& values, int ranks)
      : data_(values.raw()), bytes_(values.bytes()), ranks_(static_cast<std::size_t>(ranks)) {}

  std::size_t count() const { return (bytes_ + size - 1) / size; }
  std::span<std::byte> share(std::size_t piece, int rank) const {
    const std::size_t begin = piece * size, length = std::min(size, bytes_ - begin);
    const auto border = [&](std::size_t of) { return of == ranks_ ? length : length * of / ranks_ & ~63UL; };
    const std::size_t first = border(static_cast<std::size_t>(rank));
    return {data_ + begin + first, border(static_cast<std::size_t>(rank) + 1) - first};
  }
  /// No share is longer; a multiple of 64, as their borders are.
  std::size_t longest() const { return (size / ranks_ + 127) & ~63UL; }

 private:
  static constexpr std::size_t size = 1UL << 21;

  std::byte* data_;
  std::size_t bytes_, ranks_;
};

/// Messages between two ranks arrive in the order in which they were sent, so that no exchange needs a tag of its own.
enum Tag : int { CardTag, ShareTag, ResultTag };

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const MpiOptions& options) : timeout_(options.timeout), end_timeout_(options.timeout) {
    static bool started_here = false;
    if (started_here) throw Error("this process has had an MPI communicator, and MPI starts and ends with that one");
    int initialized = 0, finalized = 0;
    check(MPI_Initialized(&initialized), "MPI_Initialized");
    check(MPI_Finalized(&finalized), "MPI_Finalized");
    if (finalized) throw Error("MPI has ended in this process and cannot start again");
    if (!initialized) {
      int provided = 0;
      check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
      ends_mpi_ = started_here = true;
    }
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    // Each begins with another one, so that not all send to the same.
    for (int step = 1; step < size_; ++step) others_.push_back((rank_ + step) % size_);
    Requests copied(1);
    check(MPI_Comm_idup(MPI_COMM_WORLD, &group_, copied.data()), "MPI_Comm_idup");
    wait(copied, {{Call::Start}, timeout_});
    check(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }

  /// Ends MPI only together with the others: it would wait for them without a limit.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() > exceptions_) return;
    try {
      meet({{Call::End}, end_timeout_});
    } catch (const std::exception&) {
      return;
    }
    MPI_Comm_free(&group_);
    if (ends_mpi_) MPI_Finalize();
  }

  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Attendance barrier(std::chrono::nanoseconds timeout, int) override {
    meet({{Call::Barrier}, timeout});
    if (timeout.count() > 0) timeout_ = timeout;
    Attendance all;
    all.present.resize(cards_.size());
    std::iota(all.present.begin(), all.present.end(), 0);
    return all;
  }

  /// Each rank hands its share of every piece, which it has from the root, on to the others.
  void broadcast(Tensor& values, int root) override {
    detail::check_root(root, size_);
    const Exchange exchange = bring(values, {.call = Call::Broadcast, .root = root});
    const Pieces pieces(values, size_);
    const auto hand_out = [&](std::size_t piece, Requests& requests) {
      if (rank_ != root) return receive(pieces.share(piece, rank_), root, ShareTag, requests);
      for (const int to : others_) send(pieces.share(piece, to), to, ShareTag, requests);
    };
    run(
        pieces,
        exchange,
        hand_out,
        [](std::size_t) {},
        [&](int rank) { return rank != root; });
  }

  void all_reduce_sum(Tensor& values) override { all_reduce_mean(values, 1, 1); }

  /// Each rank sums its share of every piece for all.
  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    detail::check_summable(values.dtype());
    const Exchange exchange = bring(values, {.call = Call::Sum, .scale = scale});
    const Pieces pieces(values, size_);
    if (!scratch_.defined()) scratch_ = Tensor(Shape{2 * cards_.size() * pieces.longest()}, DType::U8);
    const auto scratch = [&](std::size_t piece, int rank) {
      return scratch_.raw() + (piece % 2 * cards_.size() + at(rank)) * pieces.longest();
    };
    const auto gather = [&](std::size_t piece, Requests& requests) {
      for (const int other : others_) {
        receive({scratch(piece, other), pieces.share(piece, rank_).size()}, other, ShareTag, requests);
        send(pieces.share(piece, other), other, ShareTag, requests);
      }
    };
    std::vector<detail::Addend> addends(cards_.size());
    const auto sum = [&](std::size_t piece) {
      const std::span<std::byte> mine = pieces.share(piece, rank_);
      for (int rank = 0; rank < size_; ++rank)
        addends[at(rank)] = {rank == rank_ ? mine.data() : scratch(piece, rank), cards_[at(rank)].scale};
      std::byte* const result = mine.data();
      detail::ordered_mean(values.dtype(), mine.size() / size_of(values.dtype()), addends, divisor, {&result, 1});
    };
    run(pieces, exchange, gather, sum, [](int) { return true; });
  }

 private:
  static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

  void check(int code, const char* call) {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    break_off(fmt::format("{}: {}", call, text));
  }

  /// After this nothing of what is under way ends, and nothing new begins.
  [[noreturn]] void break_off(const std::string& why) {
    broken_ = fmt::format("rank {} of {}: {}", rank_, size_, why);
    throw Error(broken_);
  }

  void receive(std::span<std::byte> bytes, int from, Tag tag, Requests& requests) {
    MPI_Request& request = requests.emplace_back(MPI_REQUEST_NULL);
    check(MPI_Irecv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, from, tag, group_, &request), "MPI_Irecv");
  }

  void send(std::span<const std::byte> bytes, int to, Tag tag, Requests& requests) {
    MPI_Request& request = requests.emplace_back(MPI_REQUEST_NULL);
    check(MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, to, tag, group_, &request), "MPI_Isend");
  }

  /// Whether all of `requests` are done within the exchange's time. A rank that waits leaves its processor to those
  /// that work, and looks again the less often the longer it has waited.
  bool are_done(Requests& requests, const Exchange& exchange) {
    const Clock::time_point begin = Clock::now();
    std::vector<MPI_Status> statuses(requests.size());
    for (;;) {
      int done = 0;
      const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
      if (code == MPI_ERR_IN_STATUS)  // which alone says nothing
        for (const MPI_Status& status : statuses)
          if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, "MPI_Testall");
      check(code, "MPI_Testall");
      if (done) return true;
      const Clock::time_point now = Clock::now();
      if (exchange.timeout.count() > 0 && now - exchange.begin >= exchange.timeout) return false;
      if (now - begin < std::chrono::milliseconds(1))
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::min<Clock::duration>((now - begin) / 16, std::chrono::milliseconds(1)));
    }
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
        if (wants(rank_)) receive(pieces.share(piece, other), other, ResultTag, results[piece % 2]);
        if (wants(other)) send(pieces.share(piece, rank_), other, ResultTag, results[piece % 2]);
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

  /// Waits for all ranks and fills `cards_`. Throws on every rank where one makes another call.
  void meet(const Exchange& exchange) {
    if (!broken_.empty()) throw Error(broken_);
    cards_.assign(at(size_), exchange.card);
    Requests requests;
    for (const int rank : others_) {
      receive(std::as_writable_bytes(std::span(&cards_[at(rank)], 1)), rank, CardTag, requests);
      send(std::as_bytes(std::span(&cards_[at(rank_)], 1)), rank, CardTag, requests);
    }
    if (!are_done(requests, exchange)) report_missing(requests, exchange);
    for (int rank = 0; rank < size_; ++rank)
      if (cards_[at(rank)].call == Call::End && exchange.card.call != Call::End)
        break_off(fmt::format("rank {} has left the group, so this one cannot go on", rank));
    for (int rank = 0; rank < size_; ++rank)
      if (const Card& other = cards_[at(rank)]; other.call != exchange.card.call || other.root != exchange.card.root)
        throw Error(fmt::format(
            "rank {} of {}: rank {} came to {} and this one to {}; all must make the same calls in the same order",
            rank_,
            size_,
            rank,
            name_of(other),
            name_of(exchange.card)));
  }

  /// `requests` are a receipt and a sending for each other rank.
  [[noreturn]] void report_missing(Requests& requests, const Exchange& exchange) {
    std::vector<int> missing;
    for (std::size_t i = 0; i < others_.size(); ++i) {
      int done = 0;
      check(MPI_Testall(2, &requests[2 * i], &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (!done) missing.push_back(others_[i]);
    }
    std::sort(missing.begin(), missing.end());
    break_off(fmt::format(
        "{} {} did not come to {} within {:g} s; {}",
        missing.size() == 1 ? "rank" : "ranks",
        fmt::join(missing, ", "),
        name_of(exchange.card),
        exchange.seconds(),
        missing.size() == 1 ? "it hangs or is gone" : "they hang or are gone"));
  }

  /// Begins the exchange of a tensor. Throws on every rank where one brings a tensor unlike that of the root.
  Exchange bring(const Tensor& values, Card card) {
    detail::check_dense(values);
    card.dtype = values.dtype();
    card.shape = values.shape();
    const Exchange exchange{card, timeout_};
    meet(exchange);
    const Card& wanted = cards_[at(card.root)];
    for (int rank = 0; rank < size_; ++rank) {
      const Card& other = cards_[at(rank)];
      const std::string mismatch =
          detail::find_mismatch(rank, other.dtype, other.shape, card.root, wanted.dtype, wanted.shape);
      if (!mismatch.empty()) throw ShapeError(mismatch);
    }
    return exchange;
  }

  int rank_ = 0, size_ = 1;
  std::vector<int> others_;
  MPI_Comm group_ = MPI_COMM_NULL;
  bool ends_mpi_ = false;
  const int exceptions_ = std::uncaught_exceptions();
  std::chrono::nanoseconds timeout_, end_timeout_;
  /// Of the last meeting.
  std::vector<Card> cards_;
  Tensor scratch_;
  /// Why nothing can be exchanged any more; empty: it can.
  std::string broken_;
};

}  // namespace

std::unique_ptr<Communicator> mpi_communicator(const MpiOptions& options) {
  return std::make_unique<MpiCommunicator>(options);
}

}  // namespace sparknet
