#include "src/net/memory_plan.h"

#include <doctest/doctest.h>

#include "sparknet/random.h"

using namespace sparknet;

TEST_CASE("pieces that live together never overlap, and what is promised intact is") {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> pieces;
    std::size_t sum = 0;
    for (std::uint64_t n = 1 + random.below(30); n > 0; --n) {
      const int first = static_cast<int>(random.below(20)) - 1;
      const int last = random.below(8) == 0 ? Lifetime::forever : first + static_cast<int>(random.below(10));
      pieces.push_back({1 + random.below(5000), first, last});
    }
    const std::size_t total = plan_memory(pieces);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Lifetime& a = pieces[i];
      sum += a.bytes;
      CHECK(a.offset % 64 == 0);
      CHECK(a.offset + a.bytes <= total);
      CHECK(a.intact_until >= a.last);
      for (const Lifetime& b : pieces) {
        if (&a == &b || a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset) continue;
        CHECK((a.last < b.first || b.last < a.first));
        if (b.first > a.last) CHECK(a.intact_until < b.first);
      }
    }
    CHECK(total <= sum);
  }
}

TEST_CASE("a chain of equal pieces needs two places") {
  std::vector<Lifetime> pieces;
  for (int i = 0; i < 10; ++i) pieces.push_back({1000, i, i + 1});
  CHECK(plan_memory(pieces) == 2 * 1024);
}
