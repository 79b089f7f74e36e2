#include "kernels/cpu/move.h"

#include <algorithm>
#include <cstring>

namespace sparknet::kernels::cpu {
namespace {

/// Bytes below which waking the crew costs more than it saves.
constexpr Index kWorth = 128 * 1024;
/// Borders between threads, in elements.
constexpr Index kUnit = 64;
/// Side of the square tiles that a transposition goes by; those of narrow arrays are as much longer.
constexpr Index kSide = 32;
constexpr int kBlock = 4;

template <class T>
constexpr Index kWorthOf = kWorth / static_cast<Index>(sizeof(T));

/// The same box with its axes in the order of the steps in `to`, the smallest last, and as few of them as will do; at
/// least one. Empty boxes have an axis of size 0.
Box tidied(const Box& box) {
  Box sorted;
  for (int d = 0; d < box.rank; ++d) {
    if (box.size[d] == 0) {
      Box empty;
      empty.add(0, 1, 1);
      return empty;
    }
    if (box.size[d] == 1) continue;
    int at = sorted.rank;
    sorted.add(box.size[d], box.from_step[d], box.to_step[d]);
    for (; at > 0 && sorted.to_step[at - 1] < sorted.to_step[at]; --at) {
      std::swap(sorted.size[at - 1], sorted.size[at]);
      std::swap(sorted.from_step[at - 1], sorted.from_step[at]);
      std::swap(sorted.to_step[at - 1], sorted.to_step[at]);
    }
  }
  if (sorted.rank == 0) sorted.add(1, 1, 1);
  Box tidy;
  for (int d = 0; d < sorted.rank; ++d) {
    const int outer = tidy.rank - 1;
    if (outer >= 0 && tidy.to_step[outer] == sorted.size[d] * sorted.to_step[d] &&
        tidy.from_step[outer] == sorted.size[d] * sorted.from_step[d]) {
      tidy.size[outer] *= sorted.size[d];
      tidy.from_step[outer] = sorted.from_step[d];
      tidy.to_step[outer] = sorted.to_step[d];
    } else {
      tidy.add(sorted.size[d], sorted.from_step[d], sorted.to_step[d]);
    }
  }
  return tidy;
}

Index count_of(const Box& box) {
  Index count = 1;
  for (int d = 0; d < box.rank; ++d) count *= box.size[d];
  return count;
}

/// Goes through a box in row-major order.
class Cursor {
 public:
  Cursor(const Box& box, Index at) : box_(box) {
    for (int d = box.rank - 1; d >= 0; --d) {
      at_[d] = at % box.size[d];
      at /= box.size[d];
      from_ += at_[d] * box.from_step[d];
      to_ += at_[d] * box.to_step[d];
    }
  }

  Index from() const { return from_; }
  Index to() const { return to_; }

  void next() {
    for (int d = box_.rank - 1; d >= 0; --d) {
      from_ += box_.from_step[d];
      to_ += box_.to_step[d];
      if (++at_[d] < box_.size[d]) return;
      from_ -= box_.size[d] * box_.from_step[d];
      to_ -= box_.size[d] * box_.to_step[d];
      at_[d] = 0;
    }
  }

 private:
  const Box& box_;
  Index at_[Box::kMaxRank] = {};
  Index from_ = 0, to_ = 0;
};

/// The last axis of a box, cut off.
struct Row {
  Index size, from_step, to_step;
};
Row cut_row(Box& box) {
  const int d = --box.rank;
  return {box.size[d], box.from_step[d], box.to_step[d]};
}

/// Calls f(from, to, n) for the pieces of rows that elements [begin, end) of a box are.
template <class F>
void for_rows(const Box& rows, const Row& row, Index begin, Index end, F&& f) {
  Cursor cursor(rows, begin / row.size);
  for (Index at = begin % row.size; begin < end; at = 0) {
    const Index n = std::min(row.size - at, end - begin);
    f(cursor.from() + at * row.from_step, cursor.to() + at * row.to_step, n);
    begin += n;
    cursor.next();
  }
}

template <class T>
void copy_row(const Row& row, Index n, const T* from, T* to) {
  if (row.to_step == 1 && row.from_step == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
  } else if (row.to_step == 1 && row.from_step == 0) {
    std::fill_n(to, n, *from);
  } else {
    for (Index j = 0; j < n; ++j) to[j * row.to_step] = from[j * row.from_step];
  }
}

/// to[i][j] = from[j][i]
template <class T>
void copy_tile_plainly(Index rows, Index columns, const T* from, Index from_step, T* to, Index to_step) {
  if (columns >= rows) {
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < columns; ++j) to[i * to_step + j] = from[j * from_step + i];
    }
  } else {
    for (Index j = 0; j < columns; ++j) {
      for (Index i = 0; i < rows; ++i) to[i * to_step + j] = from[j * from_step + i];
    }
  }
}

/// The same, for kBlock rows and columns, which fit into registers.
template <class T>
void copy_block(const T* from, Index from_step, T* to, Index to_step) {
  T columns[kBlock][kBlock], rows[kBlock][kBlock];
  for (int j = 0; j < kBlock; ++j) std::memcpy(columns[j], from + j * from_step, sizeof columns[j]);
  for (int i = 0; i < kBlock; ++i) {
    for (int j = 0; j < kBlock; ++j) rows[i][j] = columns[j][i];
  }
  for (int i = 0; i < kBlock; ++i) std::memcpy(to + i * to_step, rows[i], sizeof rows[i]);
}

template <class T>
void copy_tile(Index rows, Index columns, const T* from, Index from_step, T* to, Index to_step) {
  const Index whole_rows = columns < kBlock ? 0 : rows / kBlock * kBlock, whole_columns = columns / kBlock * kBlock;
  for (Index i = 0; i < whole_rows; i += kBlock) {
    for (Index j = 0; j < whole_columns; j += kBlock) {
      copy_block(from + j * from_step + i, from_step, to + i * to_step + j, to_step);
    }
  }
  const T* const right = from + whole_columns * from_step;
  copy_tile_plainly(whole_rows, columns - whole_columns, right, from_step, to + whole_columns, to_step);
  copy_tile_plainly(rows - whole_rows, columns, from + whole_rows, from_step, to + whole_rows * to_step, to_step);
}

/// A copy whose neighbours in `to` are `row` and in `from` the axis `across`: in tiles that stay in the cache.
template <class T>
void transpose(ThreadTeam& team, Box box, int across, const Row& row, const T* from, T* to) {
  const Index to_step = box.to_step[across];
  const auto side = [](Index other) { return kSide * kSide / std::min(other, kSide); };
  const Index height = box.size[across], width = row.size, tile_height = side(width), tile_width = side(height);
  // In place of the axis itself, the tiles along it; behind it those along the row.
  box.size[across] = (height + tile_height - 1) / tile_height;
  box.from_step[across] = tile_height;
  box.to_step[across] = tile_height * to_step;
  const Index across_row = (width + tile_width - 1) / tile_width;
  Index inside = across_row;
  for (int d = across + 1; d < box.rank; ++d) inside *= box.size[d];
  box.add(across_row, tile_width * row.from_step, tile_width);
  const Index tiles = count_of(box), tile = tile_height * tile_width;
  for_ranges(team, tiles, 1, 1 + kWorthOf<T> / tile, [&](Index begin, Index end) {
    Cursor cursor(box, begin);
    for (Index t = begin; t < end; ++t, cursor.next()) {
      const Index i = t / inside % box.size[across] * tile_height, j = t % across_row * tile_width;
      copy_tile(
          std::min(tile_height, height - i),
          std::min(tile_width, width - j),
          from + cursor.from(),
          row.from_step,
          to + cursor.to(),
          to_step);
    }
  });
}

}  // namespace

template <class T>
void copy_box(ThreadTeam& team, const Box& any, const T* from, T* to) {
  Box box = tidied(any);
  const Index count = count_of(box);
  const Row row = cut_row(box);
  if (row.to_step == 1 && row.from_step > 1) {
    for (int d = 0; d < box.rank; ++d) {
      if (box.from_step[d] == 1) return transpose(team, box, d, row, from, to);
    }
  }
  for_ranges(team, count, kUnit, kWorthOf<T>, [&](Index begin, Index end) {
    for_rows(box, row, begin, end, [&](Index source, Index target, Index n) {
      copy_row(row, n, from + source, to + target);
    });
  });
}

template <class T>
void sum_box(ThreadTeam& team, const Box& any, const T* from, T* to) {
  // The axes that are summed have the smallest step in `to`, 0, and are the last.
  Box box = tidied(any);
  Box summed;
  int kept = box.rank;
  while (kept > 0 && box.to_step[kept - 1] == 0) --kept;
  for (int d = kept; d < box.rank; ++d) summed.add(box.size[d], box.from_step[d], 0);
  const Index count = count_of(box), terms = count_of(summed);
  box.rank = kept;
  if (box.rank == 0) box.add(1, 1, 1);
  const Row row = cut_row(box);

  // Pieces of rows that stay in the cache from term to term.
  const Index piece = row.from_step == 1 ? 1024 : 64;
  for_ranges(
      team,
      count / std::max<Index>(terms, 1),
      kUnit,
      1 + kWorthOf<T> / std::max<Index>(terms, 1),
      [&](Index begin, Index end) {
        for_rows(box, row, begin, end, [&](Index source, Index target, Index n) {
          for (Index at = 0; at < n; at += piece) {
            const Index m = std::min(piece, n - at);
            const T* const x = from + source + at * row.from_step;
            T* const y = to + target + at * row.to_step;
            copy_row(row, m, x, y);
            Cursor term(summed, 0);
            for (Index t = 1; t < terms; ++t) {
              term.next();
              const T* const more = x + term.from();
              if (row.from_step == 1 && row.to_step == 1) {
                for (Index j = 0; j < m; ++j) y[j] += more[j];
              } else {
                for (Index j = 0; j < m; ++j) y[j * row.to_step] += more[j * row.from_step];
              }
            }
          }
        });
      });
}

template void copy_box(ThreadTeam&, const Box&, const unsigned char*, unsigned char*);
#define SPARKNET_MOVE(T)                                         \
  template void copy_box(ThreadTeam&, const Box&, const T*, T*); \
  template void sum_box(ThreadTeam&, const Box&, const T*, T*);
SPARKNET_MOVE(float)
SPARKNET_MOVE(double)
#undef SPARKNET_MOVE

}  // namespace sparknet::kernels::cpu
