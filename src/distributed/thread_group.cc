#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "kernels/thread_team.h"
#include "sparknet/distributed/communicator.h"
#include "sparknet/error.h"
#include "src/distributed/agreement.h"
#include "src/distributed/ordered_sum.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

/// Where the members of one process meet.
class Meeting {
 public:
  explicit Meeting(int size) : given(static_cast<std::size_t>(size)), members_(static_cast<std::size_t>(size)) {
    for (int rank = 0; rank < size; ++rank) present_.push_back(rank);
  }

  struct Gift {
    Tensor* values = nullptr;
    double scale = 1;
  };
  /// What each member brought, between two waits.
  std::vector<Gift> given;

  /// Those who take part in exchanges; changes in barriers alone.
  const std::vector<int>& present() const { return present_; }

  /// Returns when all who are present have called it; throws where one of them is gone.
  void wait(int rank) {
    std::unique_lock lock(mutex_);
    check(rank);
    for (const int other : present_)
      if (members_[at(other)].gone) fail();
    if (++waiting_ == present_.size()) {
      waiting_ = 0;
      ++turn_;
      lock.unlock();
      changed_.notify_all();
      return;
    }
    const std::uint64_t turn = turn_;
    // The others are on their way, and to sleep costs more than to sum a small net.
    const bool have_processors = present_.size() <= processors_;
    lock.unlock();
    const auto all_came = [&] { return turn_ != turn; };
    if (have_processors && kernels::spin_until(all_came)) return;
    for (int looks = have_processors ? 0 : 50; looks > 0 && !all_came(); --looks) std::this_thread::yield();
    lock.lock();
    changed_.wait(lock, [&] { return turn_ != turn || somebody_left_; });
    if (turn_ == turn) fail();
  }

  Attendance barrier(int rank, std::chrono::nanoseconds timeout, int quorum) {
    std::unique_lock lock(mutex_);
    if (broken_) fail();
    const auto turn = barriers_;
    members_[at(rank)].here = true;
    members_[at(rank)].lost = false;
    // One that comes back early waits without hurrying the others.
    if (!deadline_ && timeout.count() > 0 && is_present(rank)) deadline_ = Clock::now() + timeout;
    const int wanted = quorum > 0 ? quorum : static_cast<int>(members_.size());
    changed_.notify_all();  // the deadline may be new to those who wait
    while (barriers_ == turn && !broken_) {
      if (nobody_is_missing() || (deadline_ && Clock::now() >= *deadline_))
        close(wanted, timeout);
      else if (deadline_)
        changed_.wait_until(lock, *deadline_);
      else
        changed_.wait(lock);
    }
    if (barriers_ == turn) fail();
    return members_[at(rank)].attendance;
  }

  void leave(int rank, std::exception_ptr why) {
    {
      const std::lock_guard lock(mutex_);
      Member& member = members_[at(rank)];
      member.gone = true;
      member.why = why;
      if (why) errors_.push_back(rank);
      if (is_present(rank))
        somebody_left_ = true;
      else
        member.tolerated = true;
    }
    changed_.notify_all();
  }

  /// Waits until every member is gone or lost, and returns whether each is gone.
  std::vector<bool> wait_for_the_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return std::all_of(members_.begin(), members_.end(), [](const Member& member) {
        return member.gone || member.lost;
      });
    });
    std::vector<bool> gone;
    for (const Member& member : members_) gone.push_back(member.gone);
    return gone;
  }

  /// The first exception of a member that the others did not go on without.
  std::exception_ptr first_error() {
    const std::lock_guard lock(mutex_);
    for (const int rank : errors_)
      if (const Member& member = members_[at(rank)]; !member.tolerated) return member.why;
    return nullptr;
  }

 private:
  struct Member {
    /// At the barrier that is open.
    bool here = false;
    /// Given up by the others, and not back yet.
    bool lost = false;
    /// Never to come again, and why.
    bool gone = false;
    std::exception_ptr why;
    /// The others went on without it.
    bool tolerated = false;
    /// Of the last barrier it came to.
    Attendance attendance;
  };

  static std::size_t at(int rank) { return static_cast<std::size_t>(rank); }

  bool is_present(int rank) const { return std::find(present_.begin(), present_.end(), rank) != present_.end(); }

  void check(int rank) const {
    if (!is_present(rank))
      throw Error(fmt::format("worker {} was given up by its group; it can come back at a barrier only", rank));
  }

  /// Whether those that are waited for are here or will never be.
  bool nobody_is_missing() const {
    return std::all_of(present_.begin(), present_.end(), [&](int rank) {
      return members_[at(rank)].here || members_[at(rank)].gone;
    });
  }

  /// Ends the open barrier, with `mutex_` held.
  void close(int quorum, std::chrono::nanoseconds timeout) {
    for (const int rank : present_) members_[at(rank)].lost = !members_[at(rank)].here;
    Attendance next;
    for (int rank = 0; rank < static_cast<int>(members_.size()); ++rank) {
      Member& member = members_[at(rank)];
      if (member.here) {
        next.present.push_back(rank);
        if (!is_present(rank)) next.newcomers.push_back(rank);
      } else if (is_present(rank)) {
        next.faults.push_back(
            member.gone ? describe(rank, member.why)
                        : fmt::format(
                              "worker {} did not come within {:g} s",
                              rank,
                              std::chrono::duration<double>(timeout).count()));
      }
    }
    const int here = static_cast<int>(next.present.size());
    if (here < quorum || next.newcomers.size() == next.present.size()) {
      broken_ = true;
      why_ = here < quorum ? fmt::format(
                                 "{} of {} workers came to the barrier, and {} must: {}",
                                 here,
                                 members_.size(),
                                 quorum,
                                 fmt::join(next.faults, "; "))
                           : "nobody is left who knows where the group is";
    } else {
      for (const int rank : present_)
        if (Member& member = members_[at(rank)]; !member.here) member.tolerated = true;
      present_ = next.present;
      for (const int rank : present_) members_[at(rank)].attendance = next;
      somebody_left_ = false;
      waiting_ = 0;
      ++barriers_;
    }
    for (Member& member : members_) member.here = false;
    deadline_.reset();
    changed_.notify_all();
  }

  static std::string describe(int rank, const std::exception_ptr& why) {
    if (!why) return fmt::format("worker {} has returned", rank);
    try {
      std::rethrow_exception(why);
    } catch (const std::exception& error) {
      return fmt::format("worker {}: {}", rank, error.what());
    } catch (...) {
      return fmt::format("worker {} threw something that is no std::exception", rank);
    }
  }

  [[noreturn]] void fail() const {
    throw Error(why_.empty() ? "another worker has left the group, so this one cannot go on" : why_);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Member> members_;
  std::vector<int> present_;
  std::size_t waiting_ = 0;
  std::atomic<std::uint64_t> turn_ = 0;
  std::uint64_t barriers_ = 0;
  const std::size_t processors_ = static_cast<std::size_t>(kernels::usable_cores());
  std::optional<Clock::time_point> deadline_;
  std::vector<int> errors_;
  bool somebody_left_ = false, broken_ = false;
  std::string why_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.given.size()); }

  Attendance barrier(std::chrono::nanoseconds timeout, int quorum) override {
    return meeting_.barrier(rank_, timeout, quorum);
  }

  void broadcast(Tensor& values, int root) override {
    detail::check_root(root, size());
    const std::vector<int>& present = meeting_.present();
    if (std::find(present.begin(), present.end(), root) == present.end())
      throw Error(fmt::format("worker {} was lost and cannot broadcast", root));
    bring(values, 1, root);
    if (rank_ != root) values.copy_from(*given(root).values);
    meeting_.wait(rank_);
  }

  void all_reduce_sum(Tensor& values) override { all_reduce_mean(values, 1, 1); }

  void all_reduce_mean(Tensor& values, double scale, double divisor) override {
    detail::check_summable(values.dtype());
    const std::vector<int>& present = meeting_.present();
    bring(values, scale, present.front());
    // Each member sums its share of the elements for all; the shares do not meet, and begin on 64-byte borders.
    const std::size_t members = present.size(), count = static_cast<std::size_t>(values.count());
    const auto border = [&](std::size_t index) { return index == members ? count : count * index / members & ~15UL; };
    const auto index = static_cast<std::size_t>(std::find(present.begin(), present.end(), rank_) - present.begin());
    const std::size_t begin = border(index), width = size_of(values.dtype());
    std::vector<detail::Addend> addends;
    std::vector<std::byte*> results;
    for (const int other : present) {
      std::byte* const share = given(other).values->raw() + begin * width;
      addends.push_back({share, given(other).scale});
      results.push_back(share);
    }
    detail::ordered_mean(values.dtype(), border(index + 1) - begin, addends, divisor, results);
    meeting_.wait(rank_);
  }

 private:
  const Meeting::Gift& given(int rank) const { return meeting_.given[static_cast<std::size_t>(rank)]; }

  /// Shows a tensor to the others. Throws where they do not fit that of member `model`.
  void bring(Tensor& values, double scale, int model) {
    detail::check_dense(values);
    meeting_.given[static_cast<std::size_t>(rank_)] = {&values, scale};
    meeting_.wait(rank_);
    const std::string mismatch = find_mismatch(model);
    if (mismatch.empty()) return;
    meeting_.wait(rank_);  // all see the same, and nobody may leave with a tensor that another still looks at
    throw ShapeError(mismatch);
  }

  std::string find_mismatch(int model) const {
    const Tensor& wanted = *given(model).values;
    for (const int rank : meeting_.present()) {
      const Tensor& other = *given(rank).values;
      std::string mismatch =
          detail::find_mismatch(rank, other.dtype(), other.shape(), model, wanted.dtype(), wanted.shape());
      if (!mismatch.empty()) return mismatch;
    }
    return {};
  }

  Meeting& meeting_;
  int rank_;
};

}  // namespace

void run_on_threads(int workers, const std::function<void(Communicator&)>& work, LostWorkers lost) {
  if (workers < 1) throw Error(fmt::format("a group of {} workers cannot do anything", workers));
  // Shared with the threads, for those that stay behind.
  const auto meeting = std::make_shared<Meeting>(workers);
  const auto shared_work = std::make_shared<const std::function<void(Communicator&)>>(work);
  const auto run = [meeting, shared_work](int rank) {
    ThreadCommunicator communicator(*meeting, rank);
    std::exception_ptr why;
    try {
      (*shared_work)(communicator);
    } catch (...) {
      why = std::current_exception();
    }
    meeting->leave(rank, why);
  };
  std::vector<std::thread> threads;
  for (int rank = 1; rank < workers; ++rank) threads.emplace_back(run, rank);
  run(0);
  if (lost == LostWorkers::Abandon) {
    const std::vector<bool> gone = meeting->wait_for_the_end();
    for (std::size_t i = 0; i < threads.size(); ++i)
      if (!gone[i + 1]) threads[i].detach();
  }
  for (std::thread& thread : threads)
    if (thread.joinable()) thread.join();
  if (const std::exception_ptr why = meeting->first_error()) std::rethrow_exception(why);
}

}  // namespace sparknet
