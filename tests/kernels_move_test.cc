#include <numeric>

#include "tests/kernels_test.h"

namespace sparknet::kernels {
namespace {

Index last_of(const Box& box, const Index* step) {
  Index last = 0;
  for (int d = 0; d < box.rank; ++d) last += (box.size[d] - 1) * step[d];
  return last;
}

/// Calls f(place in `from`, place in `to`) for each element, one axis after the other.
template <class F>
void visit(const Box& box, F&& f, int axis = 0, Index from = 0, Index to = 0) {
  if (axis == box.rank) return f(static_cast<std::size_t>(from), static_cast<std::size_t>(to));
  for (Index i = 0; i < box.size[axis]; ++i)
    visit(box, f, axis + 1, from + i * box.from_step[axis], to + i * box.to_step[axis]);
}

Box box_of(const std::vector<Index>& size, const std::vector<Index>& from, const std::vector<Index>& to) {
  Box box;
  for (std::size_t d = 0; d < size.size(); ++d) box.add(size[d], from[d], to[d]);
  return box;
}

/// The axes of a dense array of this shape in another order.
Box permuted(const std::vector<Index>& shape, const std::vector<std::size_t>& order) {
  std::vector<Index> step(shape.size(), 1);
  for (std::size_t d = shape.size(); d-- > 1;) step[d - 1] = step[d] * shape[d];
  Box box;
  Index to = std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
  for (const std::size_t axis : order) {
    to /= shape[axis];
    box.add(shape[axis], step[axis], to);
  }
  return box;
}

/// On every backend: what copy_box writes and, for the box of the way back where it `repeats`, what sum_box does.
void check_box(const Box& box) {
  const auto from_size = static_cast<std::size_t>(last_of(box, box.from_step) + 1);
  const auto to_size = static_cast<std::size_t>(last_of(box, box.to_step) + 1);
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const auto from = random_array<T>(from_size, 1);
    Array<T> expected(to_size, T(7)), to(to_size, T(7));
    visit(box, [&](std::size_t f, std::size_t t) { expected[t] = from[f]; });
    backend.copy_box(dtype_of<T>, box, from.data(), to.data());
    CHECK(same_bits(to, expected));

    Array<T> sums(from_size, T(7));
    std::vector<double> sums_expected(from_size, 7);
    visit(box, [&](std::size_t f, std::size_t) { sums_expected[f] = 0; });
    visit(box, [&](std::size_t f, std::size_t t) { sums_expected[f] += static_cast<double>(expected[t]); });
    backend.sum_box(dtype_of<T>, box.reversed(), to.data(), sums.data());
    CHECK(
        difference(sums, sums_expected) < tolerance<T>(static_cast<double>(to_size) / static_cast<double>(from_size)));
  });
}

TEST_CASE("boxes: one axis and none") {
  check_box({});
  for (const Index n : {1, 2, 63, 64, 65, 40001}) {
    check_box(box_of({n}, {1}, {1}));
    check_box(box_of({n}, {3}, {1}));
    check_box(box_of({n}, {1}, {2}));
    check_box(box_of({n}, {0}, {1}));
    check_box(box_of({n}, {0}, {2}));
  }
}

TEST_CASE("boxes: every order of axes") {
  for (const std::vector<Index>& shape : std::vector<std::vector<Index>>{
           {3, 4, 5, 2},
           {2, 40, 1, 33},
           {1, 1, 1, 1},
           {1, 3, 70, 9},
           {2, 3, 40, 50},
           {7, 65, 3, 31}}) {
    std::vector<std::size_t> order = {0, 1, 2, 3};
    do {
      check_box(permuted(shape, order));
    } while (std::next_permutation(order.begin(), order.end()));
  }
  // Narrow and wide, either way, with work for all threads.
  for (const std::vector<Index>& shape :
       std::vector<std::vector<Index>>{{40001, 3}, {3, 40001}, {201, 203}, {32, 2048}})
    check_box(permuted(shape, {1, 0}));
  check_box(permuted({2, 3, 100, 101}, {0, 2, 3, 1}));
  check_box(permuted({2, 100, 101, 3}, {0, 3, 1, 2}));
  check_box(permuted({1, 2, 1, 3, 2, 1, 2, 2, 1, 3, 2, 2}, {11, 9, 7, 5, 3, 1, 0, 2, 4, 6, 8, 10}));
}

TEST_CASE("boxes: parts of arrays, repeated ones and those whose axes come in any order") {
  check_box(box_of({3, 4, 5}, {100, 10, 1}, {20, 5, 1}));
  check_box(box_of({3, 4, 5}, {20, 5, 1}, {100, 10, 1}));
  check_box(box_of({5, 3, 4}, {1, 20, 5}, {1, 100, 10}));
  check_box(box_of({30, 40, 50}, {6000, 70, 1}, {2000, 50, 1}));
  check_box(box_of({300, 7, 40}, {40, 0, 1}, {280, 40, 1}));
  check_box(box_of({7, 300, 40}, {0, 40, 1}, {12000, 40, 1}));
  check_box(box_of({300, 40, 7}, {40, 1, 0}, {280, 7, 1}));
  check_box(box_of({3, 2000, 4}, {2000, 1, 0}, {8000, 4, 1}));
  check_box(box_of({3, 4, 5, 6}, {0, 6, 0, 1}, {120, 30, 6, 1}));
  check_box(box_of({3, 4, 5, 6}, {0, 0, 0, 0}, {120, 30, 6, 1}));
}

TEST_CASE("boxes: filled ones") {
  const Box box = box_of({3, 40, 50}, {5, 5, 5}, {6000, 70, 1});
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const auto size = static_cast<std::size_t>(last_of(box, box.to_step) + 1);
    Array<T> expected(size, T(7)), to(size, T(7));
    visit(box, [&](std::size_t, std::size_t t) { expected[t] = T(-2.5); });
    backend.fill_box(dtype_of<T>, box, -2.5, to.data());
    CHECK(same_bits(to, expected));
  });
}

TEST_CASE("boxes: empty ones") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    Array<T> from(1, T(1)), to(1, T(7));
    backend.copy_box(dtype_of<T>, box_of({3, 0, 2}, {1, 1, 1}, {1, 1, 1}), from.data(), to.data());
    CHECK(to[0] == T(7));
    backend.copy_rows(3, 0, from.data(), 8, to.data(), 8);
    CHECK(to[0] == T(7));
  });
}

TEST_CASE("boxes: sums have the same bits on any number of threads") {
  const Box box = box_of({50, 9, 211}, {9 * 211, 211, 1}, {211, 0, 1});
  const auto from = random_array<float>(50 * 9 * 211, 1);
  Array<float> one(50 * 211), many(50 * 211);
  make_cpu_backend(1)->sum_box(DType::F32, box, from.data(), one.data());
  make_cpu_backend(3)->sum_box(DType::F32, box, from.data(), many.data());
  CHECK(same_bits(one, many));
}

}  // namespace
}  // namespace sparknet::kernels
