#include "sparknet/distributed/communicator.h"

#include <algorithm>
#include <numeric>

#include "sparknet/error.h"

namespace sparknet {

bool Attendance::is_new(int rank) const {
  return std::find(newcomers.begin(), newcomers.end(), rank) != newcomers.end();
}

int Attendance::root() const {
  for (const int rank : present)
    if (!is_new(rank)) return rank;
  throw Error("all members of the group are newcomers");
}

Attendance Communicator::barrier(std::chrono::nanoseconds, int) {
  Tensor nothing(Shape{1});
  all_reduce_sum(nothing);
  Attendance all;
  all.present.resize(static_cast<std::size_t>(size()));
  std::iota(all.present.begin(), all.present.end(), 0);
  return all;
}

void Communicator::all_reduce_mean(Tensor& values, double scale, double divisor) {
  // x + -0 is x to the bit, which x + 0 is not for x = -0.
  if (scale == 0)
    values.fill(-0.0);
  else if (scale != 1)
    values.multiply(scale);
  all_reduce_sum(values);
  if (divisor != 1) values.divide(divisor);
}

}  // namespace sparknet
