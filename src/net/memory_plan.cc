#include "src/net/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace sparknet {
namespace {

constexpr std::size_t alignment = 64;

bool alive_together(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

}  // namespace

std::size_t plan_memory(std::vector<Lifetime>& pieces) {
  for (Lifetime& piece : pieces) piece.bytes = (piece.bytes + alignment - 1) / alignment * alignment;
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return pieces[a].bytes > pieces[b].bytes;
  });

  std::size_t total = 0;
  std::vector<const Lifetime*> neighbours;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Lifetime& piece = pieces[order[i]];
    neighbours.clear();
    for (std::size_t j = 0; j < i; ++j)
      if (alive_together(piece, pieces[order[j]])) neighbours.push_back(&pieces[order[j]]);
    std::sort(neighbours.begin(), neighbours.end(), [](const Lifetime* a, const Lifetime* b) {
      return a->offset < b->offset;
    });
    std::size_t offset = 0;
    for (const Lifetime* other : neighbours) {
      if (offset + piece.bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    piece.offset = offset;
    total = std::max(total, offset + piece.bytes);
  }

  for (Lifetime& piece : pieces)
    for (const Lifetime& other : pieces)
      if (other.first > piece.last && overlap(piece, other))
        piece.intact_until = std::min(piece.intact_until, other.first - 1);
  return total;
}

}  // namespace sparknet
