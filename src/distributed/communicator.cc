#include "sparknet/distributed/communicator.h"

#include <fmt/format.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sparknet/error.h"

namespace sparknet {
namespace {

/// Where the members of one process meet.
class Meeting {
 public:
  explicit Meeting(int size) : given(static_cast<std::size_t>(size)), size_(size) {}

  /// Returns when all members have called it; throws where one of them is gone.
  void wait() {
    std::unique_lock lock(mutex_);
    if (left_) fail();
    if (++waiting_ == size_) {
      waiting_ = 0;
      ++turn_;
      lock.unlock();
      changed_.notify_all();
      return;
    }
    const auto turn = turn_;
    changed_.wait(lock, [&] { return turn_ != turn || left_; });
    if (turn_ == turn) fail();
  }

  void leave() {
    {
      const std::lock_guard lock(mutex_);
      left_ = true;
    }
    changed_.notify_all();
  }

  /// What each member brought, between two waits.
  std::vector<Tensor*> given;

 private:
  [[noreturn]] static void fail() { throw Error("another worker has left the group, so this one cannot go on"); }

  std::mutex mutex_;
  std::condition_variable changed_;
  int size_, waiting_ = 0;
  std::uint64_t turn_ = 0;
  bool left_ = false;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.given.size()); }

  void broadcast(Tensor& values, int root) override {
    bring(values, root);
    if (rank_ != root) values.copy_from(*meeting_.given[static_cast<std::size_t>(root)]);
    meeting_.wait();
  }

  void all_reduce_sum(Tensor& values) override {
    bring(values, 0);
    // Each member sums its share of the elements over all members, in the order of the ranks; nobody writes what
    // another still reads, as the shares do not meet.
    const Dim count = values.count(), begin = count * rank_ / size(), end = count * (rank_ + 1) / size();
    const Shape from(begin), to(end);
    Tensor first = meeting_.given[0]->flatten().subarray(from, to);
    for (std::size_t other = 1; other < meeting_.given.size(); ++other)
      first.add(meeting_.given[other]->flatten().subarray(from, to));
    meeting_.wait();
    if (rank_ != 0) values.copy_from(*meeting_.given[0]);
    meeting_.wait();
  }

 private:
  /// Shows a tensor to the others. Throws where they do not fit that of member `model`.
  void bring(Tensor& values, int model) {
    if (!values.is_contiguous()) throw ShapeError("a communicator takes dense tensors; copy() this one first");
    if (model < 0 || model >= size()) throw Error(fmt::format("a group of {} has no member {}", size(), model));
    meeting_.given[static_cast<std::size_t>(rank_)] = &values;
    meeting_.wait();
    const std::string mismatch = find_mismatch(model);
    if (mismatch.empty()) return;
    meeting_.wait();  // all see the same, and nobody may leave with a tensor that another still looks at
    throw ShapeError(mismatch);
  }

  std::string find_mismatch(int model) const {
    const Tensor& wanted = *meeting_.given[static_cast<std::size_t>(model)];
    for (std::size_t other = 0; other < meeting_.given.size(); ++other) {
      const Tensor& given = *meeting_.given[other];
      if (given.shape() == wanted.shape() && given.dtype() == wanted.dtype()) continue;
      return fmt::format(
          "worker {} brings a tensor {} {} and worker {} one {} {}",
          other,
          to_string(given.dtype()),
          to_string(given.shape()),
          model,
          to_string(wanted.dtype()),
          to_string(wanted.shape()));
    }
    return {};
  }

  Meeting& meeting_;
  int rank_;
};

}  // namespace

void run_on_threads(int workers, const std::function<void(Communicator&)>& work) {
  if (workers < 1) throw Error(fmt::format("a group of {} workers cannot do anything", workers));
  Meeting meeting(workers);
  std::mutex mutex;
  std::exception_ptr first;
  const auto run = [&](int rank) {
    ThreadCommunicator communicator(meeting, rank);
    try {
      work(communicator);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
    meeting.leave();
  };
  std::vector<std::thread> threads;
  for (int rank = 1; rank < workers; ++rank) threads.emplace_back(run, rank);
  run(0);
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace sparknet
