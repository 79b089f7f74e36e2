#include "sparknet/distributed/communicator.h"

#include <doctest/doctest.h>

#include <atomic>

#include "sparknet/random.h"

using namespace sparknet;

TEST_SUITE("threads") {
  TEST_CASE("all-reduce adds in the order of the ranks, for any number of members and elements") {
    for (const int members : {1, 2, 3, 5})
      for (const Dim count : {0, 1, 2, 4, 1000}) {
        std::vector<Tensor> brought;
        for (int rank = 0; rank < members; ++rank) {
          Tensor values(Shape{count});
          Random random(1, static_cast<std::uint64_t>(rank));
          for (float& x : values.span<float>()) x = static_cast<float>(random.gaussian());
          brought.push_back(values);
        }
        Tensor expected = brought[0].copy();
        for (int rank = 1; rank < members; ++rank) expected.add(brought[static_cast<std::size_t>(rank)]);
        std::vector<Tensor> sums(static_cast<std::size_t>(members));
        run_on_threads(members, [&](Communicator& group) {
          Tensor& mine = sums[static_cast<std::size_t>(group.rank())];
          for (int again = 0; again < 20; ++again) {
            mine = brought[static_cast<std::size_t>(group.rank())].copy();
            group.all_reduce_sum(mine);
          }
        });
        for (const Tensor& sum : sums) CHECK(sum == expected);
      }
  }

  TEST_CASE("broadcast gives everybody the root's values") {
    for (const int root : {0, 2})
      run_on_threads(3, [&](Communicator& group) {
        Tensor values({2, 3}, DType::F64);
        values.fill(group.rank());
        group.broadcast(values, root);
        CHECK(values.get<double>(1, 2) == root);
        CHECK(group.size() == 3);
      });
  }

  TEST_CASE("members that bring different tensors are told so") {
    for (int again = 0; again < 50; ++again)
      CHECK_THROWS_WITH_AS(
          run_on_threads(
              3,
              [](Communicator& group) {
                Tensor values(Shape{group.rank() == 1 ? 4 : 3});
                group.all_reduce_sum(values);
              }),
          "worker 1 brings a tensor f32 [4] and worker 0 one f32 [3]",
          ShapeError);
    CHECK_THROWS_WITH_AS(
        run_on_threads(
            2,
            [](Communicator& group) {
              Tensor values(Shape{3});
              group.broadcast(values, 2);
            }),
        "a group of 2 has no member 2",
        Error);
    CHECK_THROWS_WITH_AS(run_on_threads(0, [](Communicator&) {}), "a group of 0 workers cannot do anything", Error);
  }

  TEST_CASE("nobody waits for a member that is gone") {
    std::atomic<int> told = 0;
    CHECK_THROWS_WITH(
        run_on_threads(
            4,
            [&](Communicator& group) {
              Tensor values(Shape{8});
              if (group.rank() == 3) throw std::runtime_error("gone");
              try {
                for (int i = 0; i < 100; ++i) group.all_reduce_sum(values);
              } catch (const Error&) {
                ++told;
                throw;
              }
            }),
        "gone");
    CHECK(told == 3);
    CHECK_THROWS_WITH_AS(
        run_on_threads(
            2,
            [](Communicator& group) {
              Tensor values(Shape{8});
              if (group.rank() == 0) group.all_reduce_sum(values);
            }),
        "another worker has left the group, so this one cannot go on",
        Error);
  }
}
