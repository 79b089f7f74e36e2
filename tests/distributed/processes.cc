// Groups of processes: the program runs on every rank, as mpi_test.cc and gloo_test.cc say.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <random>
#include <type_traits>

#include "sparknet/distributed/averaging_solver.h"
#include "sparknet/layers/inner_product.h"
#include "sparknet/layers/rdd.h"
#include "sparknet/layers/softmax_with_loss.h"
#include "tests/distributed/processes.h"

using namespace sparknet;

namespace {

Communicator* group = nullptr;

/// What `rank` brings: the same wherever it is made.
Tensor brought(int rank, Dim count, DType dtype) {
  Tensor values(Shape{count}, dtype);
  std::minstd_rand random(static_cast<unsigned>(rank) + 1);
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (T& x : values.span<T>()) {
      if constexpr (std::is_floating_point_v<T>)
        x = static_cast<T>(random()) / T(1e9) - 1;
      else
        x = static_cast<T>(random() & 127);
    }
  });
  return values;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// Whether `exchange`, called with a member's group and its tensor, leaves the bits here that it leaves among threads.
template <class F>
bool is_as_on_threads(Dim count, DType dtype, F exchange) {
  Tensor mine = brought(group->rank(), count, dtype), expected;
  exchange(*group, mine);
  run_on_threads(group->size(), [&](Communicator& threads) {
    Tensor values = brought(threads.rank(), count, dtype);
    exchange(threads, values);
    if (threads.rank() == group->rank()) expected = values;
  });
  return same_bits(mine, expected);
}

const std::initializer_list<Dim> counts = {0, 1, 2, 15, 16, 17, 1000, 524288, 1100003};

}  // namespace

TEST_CASE("sums have the bits of those among threads") {
  for (const DType dtype : {DType::F32, DType::F64})
    for (const Dim count : counts) {
      CAPTURE(count);
      CHECK(is_as_on_threads(count, dtype, [](Communicator& g, Tensor& values) { g.all_reduce_sum(values); }));
    }
}

TEST_CASE("means have the bits of those among threads, and a scale of 0 hides NaN") {
  for (const DType dtype : {DType::F32, DType::F64})
    for (const Dim count : counts)
      for (const int hidden : {-1, 0, group->size() - 1, group->size()}) {
        CAPTURE(count);
        CAPTURE(hidden);
        CHECK(is_as_on_threads(count, dtype, [&](Communicator& g, Tensor& values) {
          const bool is_hidden = g.rank() == hidden || hidden == g.size();  // the last: all are
          if (is_hidden) values.fill(std::numeric_limits<double>::quiet_NaN());
          g.all_reduce_mean(values, is_hidden ? 0 : 0.3 + g.rank(), 1.7);
        }));
      }
}

TEST_CASE("broadcast gives everybody the root's values, whatever their type") {
  for (int root = 0; root < group->size(); ++root)
    for (const Dim count : counts)
      for (const DType dtype : {DType::F32, DType::F64, DType::U8}) {
        Tensor values = brought(group->rank(), count, dtype);
        group->broadcast(values, root);
        CHECK(same_bits(values, brought(root, count, dtype)));
      }
}

TEST_CASE("a barrier waits for all, and all attend") {
  for (const int quorum : {0, 1}) {
    const Attendance attendance = group->barrier(std::chrono::seconds(30), quorum);
    CHECK(attendance.present.size() == static_cast<std::size_t>(group->size()));
    CHECK(attendance.root() == 0);
    CHECK(attendance.faults.empty());
  }
  (void)group->barrier();
}

TEST_CASE("tensors and calls that do not fit are refused on every rank, and the group goes on") {
  if (group->size() == 1) return;
  const int rank = group->rank();
  for (int again = 0; again < 3; ++again) {
    Tensor longer(Shape{rank == 1 ? 4 : 3});
    CHECK_THROWS_WITH_AS(
        group->all_reduce_sum(longer),
        "worker 1 brings a tensor f32 [4] and worker 0 one f32 [3]",
        ShapeError);
    CHECK_THROWS_WITH_AS(
        group->broadcast(longer, 1),
        "worker 0 brings a tensor f32 [3] and worker 1 one f32 [4]",
        ShapeError);
    Tensor wider(Shape{2, 3}, rank == 1 ? DType::F64 : DType::F32);
    CHECK_THROWS_WITH_AS(
        group->all_reduce_sum(wider),
        "worker 1 brings a tensor f64 [2, 3] and worker 0 one f32 [2, 3]",
        ShapeError);
    const std::string others = rank == 1 ? "rank 0 came to the sum and this one to the barrier"
                                         : "rank 1 came to the barrier and this one to the sum";
    CHECK_THROWS_WITH_AS(
        [&] {
          Tensor values(Shape{3});
          if (rank == 1)
            (void)group->barrier();
          else
            group->all_reduce_sum(values);
        }(),
        ("rank " + std::to_string(rank) + " of " + std::to_string(group->size()) + ": " + others +
         "; all must make the same calls in the same order")
            .c_str(),
        Error);
    Tensor ones(Shape{5});
    ones.fill(1);
    group->all_reduce_sum(ones);
    CHECK(ones.get<float>(4) == static_cast<float>(group->size()));
  }
}

TEST_CASE("what no group takes is refused") {
  Tensor values(Shape{2, 3}), whole(Shape{3}, DType::I32);
  Tensor column = values.slice(1, 0);
  CHECK_THROWS_WITH_AS(
      group->all_reduce_sum(column),
      "a communicator takes dense tensors; copy() this one first",
      ShapeError);
  CHECK_THROWS_WITH_AS(group->all_reduce_sum(whole), "a communicator sums f32 and f64, not i32", DTypeError);
  CHECK_THROWS_WITH_AS(
      group->broadcast(values, -1),
      ("a group of " + std::to_string(group->size()) + " has no member -1").c_str(),
      Error);
}

TEST_CASE("training with gradients in common has the bits of threads, on any thread") {
  const NetParam net(
      "lines",
      RDDLayer{"data", {4, 3}},
      RDDLayer{"label", {4}},
      InnerProductLayer{"hidden", {"data"}, {.num_output = 5}},
      InnerProductLayer{"ip", {"hidden"}, {.num_output = 2}},
      SoftmaxWithLoss{"loss", {"ip", "label"}});
  const SolverParam param{.base_lr = 0.05, .rule = adam(), .max_iter = 30};
  for (const bool overlap : {true, false}) {
    const AveragingOptions options{
        .round = {.max_steps = 10},
        .gradients = SharedGradients{.bucket_bytes = 64, .overlap = overlap}};
    CHECK(group->works_on_any_thread());
    CHECK(is_as_on_threads(0, DType::F32, [&](Communicator& members, Tensor& weights) {
      AveragingSolver solver(param, net, members, options, {.threads = 1});
      solver.solve(
          from_tensors({{"data", brought(members.rank(), 60, DType::F32).reshape({20, 3})}, {"label", Tensor({20})}}));
      weights = solver.weights().arena();
    }));
  }
}

int main(int argc, char** argv) {
  const std::unique_ptr<Communicator> ours = join_processes(std::chrono::seconds(60));
  group = ours.get();
  return doctest::Context(argc, argv).run();
}
