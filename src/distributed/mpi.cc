#include "sparknet/distributed/mpi.h"

#include <mpi.h>

#include <thread>

#include "src/distributed/message_group.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw detail::TransportError(fmt::format("{}: {}", call, text));
}

class MpiTransport {
 public:
  struct Requests {
    std::vector<MPI_Request> requests = {};
    /// With whom.
    std::vector<int> members = {};

    void clear() { *this = {}; }
    MPI_Request* add(int member) {
      members.push_back(member);
      return &requests.emplace_back(MPI_REQUEST_NULL);
    }
  };

  explicit MpiTransport(std::chrono::nanoseconds timeout) {
    static bool started_here = false;
    if (started_here) throw Error("this process has had an MPI communicator, and MPI starts and ends with that one");
    int initialized = 0, finalized = 0;
    check(MPI_Initialized(&initialized), "MPI_Initialized");
    check(MPI_Finalized(&finalized), "MPI_Finalized");
    if (finalized) throw Error("MPI has ended in this process and cannot start again");
    if (!initialized) {
      int provided = 0;
      check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
      ends_mpi_ = started_here = true;
    }
    check(MPI_Query_thread(&thread_level_), "MPI_Query_thread");
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    Requests copied;
    check(MPI_Comm_idup(MPI_COMM_WORLD, &group_, copied.add(-1)), "MPI_Comm_idup");
    if (!are_done(copied, timeout.count() > 0 ? Clock::now() + timeout : Clock::time_point::max()))
      throw detail::TransportError(fmt::format(
          "the start was not done within {:g} s; a rank hangs or is gone",
          std::chrono::duration<double>(timeout).count()));
    check(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool works_on_any_thread() const { return thread_level_ >= MPI_THREAD_SERIALIZED; }

  void receive(std::span<std::byte> bytes, int from, int tag, Requests& requests) {
    const int count = static_cast<int>(bytes.size());
    check(MPI_Irecv(bytes.data(), count, MPI_BYTE, from, tag, group_, requests.add(from)), "MPI_Irecv");
  }

  void send(std::span<const std::byte> bytes, int to, int tag, Requests& requests) {
    const int count = static_cast<int>(bytes.size());
    check(MPI_Isend(bytes.data(), count, MPI_BYTE, to, tag, group_, requests.add(to)), "MPI_Isend");
  }

  /// A rank that waits leaves its processor to those that work, and looks again the less often the longer it has
  /// waited.
  bool are_done(Requests& requests, Clock::time_point deadline) {
    const Clock::time_point begin = Clock::now();
    std::vector<MPI_Request>& all = requests.requests;
    std::vector<MPI_Status> statuses(all.size());
    for (;;) {
      int done = 0;
      const int code = MPI_Testall(static_cast<int>(all.size()), all.data(), &done, statuses.data());
      if (code == MPI_ERR_IN_STATUS)  // which alone says nothing
        for (const MPI_Status& status : statuses)
          if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, "MPI_Testall");
      check(code, "MPI_Testall");
      if (done) return true;
      const Clock::time_point now = Clock::now();
      if (now >= deadline) return false;
      if (now - begin < std::chrono::milliseconds(1))
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::min<Clock::duration>((now - begin) / 16, std::chrono::milliseconds(1)));
    }
  }

  std::vector<int> missing(Requests& requests) {
    std::vector<int> members;
    for (std::size_t i = 0; i < requests.members.size(); ++i) {
      int done = 0;
      check(MPI_Test(&requests.requests[i], &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (!done) members.push_back(requests.members[i]);
    }
    return members;
  }

  /// MPI_Finalize waits for the others without a limit.
  void finish() {
    MPI_Comm_free(&group_);
    if (ends_mpi_) MPI_Finalize();
  }

 private:
  int rank_ = 0, size_ = 1, thread_level_ = MPI_THREAD_SINGLE;
  MPI_Comm group_ = MPI_COMM_NULL;
  bool ends_mpi_ = false;
};

}  // namespace

std::unique_ptr<Communicator> mpi_communicator(const MpiOptions& options) {
  try {
    return std::make_unique<detail::MessageGroup<MpiTransport>>(options.timeout, options.timeout);
  } catch (const detail::TransportError& error) {
    throw Error(error.what());
  }
}

}  // namespace sparknet
