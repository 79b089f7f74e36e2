// An all-reduce over MPI beside MPI's own of the same bytes: mpirun -n 2 mpi_all_reduce [ELEMENTS [REPETITIONS]].
// The two take turns, so that a busy neighbour meets both alike.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "sparknet/distributed/mpi.h"

namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Milliseconds of the slowest rank.
template <class F>
double time(F exchange) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto begin = std::chrono::steady_clock::now();
  exchange();
  double mine = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(),
         slowest = 0;
  MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sparknet;
  const auto group = mpi_communicator();
  const Dim count = argc > 1 ? std::atoll(argv[1]) : 60965224;  // CaffeNet's parameters
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 21;
  if (count < 1 || count > 0x7FFFFFFF || repetitions < 1) {
    if (group->rank() == 0) fmt::print(stderr, "mpi_all_reduce [ELEMENTS [REPETITIONS]], both above 0\n");
    return 2;
  }
  Tensor values{Shape(count)};
  std::vector<double> ours, theirs;
  for (int repetition = 0; repetition <= repetitions; ++repetition) {
    values.fill(1);
    const double mpi = time([&] {
      MPI_Allreduce(MPI_IN_PLACE, values.raw(), static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    });
    values.fill(1);
    const double mean = time([&] { group->all_reduce_mean(values, 1, group->size()); });
    if (repetition == 0) continue;  // finds everything cold
    theirs.push_back(mpi);
    ours.push_back(mean);
  }
  if (group->rank() == 0)
    fmt::print(
        "{} ranks, {:.1f} MB: ours {:.2f} ms, MPI_Allreduce {:.2f} ms, ours/MPI {:.2f} (medians of {})\n",
        group->size(),
        static_cast<double>(values.bytes()) / 1e6,
        median(ours),
        median(theirs),
        median(ours) / median(theirs),
        repetitions);
  return 0;
}
