#include <array>
#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/thread_team.h"
#include "tests/kernels_test.h"

namespace sparknet::kernels {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

/// Sizes around the vectors' widths, and one that all threads share.
const std::vector<std::size_t> kCounts = {0, 1, 3, 16, 67, 40001};

template <class T>
constexpr DType kType = dtype_of<T>;

Index count_of(std::size_t n) {
  return static_cast<Index>(n);
}

TEST_CASE("thread team") {
  for (const int threads : {1, 2, 5}) {
    ThreadTeam team(threads);
    CHECK(team.size() == threads);
    std::vector<int> calls(static_cast<std::size_t>(threads), 0);
    for (int round = 0; round < 500; ++round) team.run([&](int worker) { ++calls[static_cast<std::size_t>(worker)]; });
    for (const int count : calls) CHECK(count == 500);
    CHECK_THROWS_WITH_AS(
        team.run([&](int worker) {
          if (worker == threads - 1) throw std::runtime_error("from a worker");
        }),
        "from a worker",
        std::runtime_error);
    std::atomic<int> sum{0};
    team.run([&](int worker) { sum += worker + 1; });
    CHECK(sum == threads * (threads + 1) / 2);
  }
  CHECK_THROWS_AS(ThreadTeam(0), std::invalid_argument);
}

TEST_CASE("shares cover a range in order") {
  for (std::int64_t n : {0, 1, 5, 64}) {
    for (int parts : {1, 2, 3, 7}) {
      std::int64_t at = 0;
      for (int part = 0; part < parts; ++part) {
        const Share piece = share(n, parts, part);
        CHECK(piece.begin == at);
        CHECK(piece.size() - n / parts <= 1);
        at = piece.end;
      }
      CHECK(at == n);
    }
  }
}

TEST_CASE("backends say what they are and hold memory") {
  CHECK(std::string(make_cpu_backend(2, Isa::Portable)->description()) == "cpu portable, 2 threads");
  CHECK(make_cpu_backend(3)->threads() == 3);
  CHECK_THROWS_AS(make_cpu_backend(0), std::invalid_argument);
  if (best_isa() < Isa::V4) CHECK_THROWS_AS(make_cpu_backend(1, Isa::V4), std::invalid_argument);
  const auto backend = make_cpu_backend(1);
  for (const std::size_t bytes : {0u, 1u, 1000u}) {
    unsigned char* const memory = static_cast<unsigned char*>(backend->allocate(bytes));
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % 64 == 0);
    CHECK(std::all_of(memory, memory + bytes, [](unsigned char byte) { return byte == 0; }));
    backend->release(memory);
  }
  CHECK_THROWS_AS(backend->allocate(std::numeric_limits<std::size_t>::max() - 8), std::bad_alloc);
}

TEST_CASE("relu, in place and not") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : kCounts) {
      for (const double slope : {0.0, 0.1}) {
        auto x = random_array<T>(n, 1);
        if (n > 2) x[0] = static_cast<T>(kNan), x[1] = static_cast<T>(-kInf), x[2] = T(0);
        const auto dy = random_array<T>(n, 2);
        std::vector<double> y, dx;
        for (std::size_t i = 0; i < n; ++i) {
          const double value = static_cast<double>(x[i]), top = static_cast<double>(dy[i]);
          y.push_back(value < 0 ? (slope > 0 ? value * slope : 0) : value);
          dx.push_back(value > 0 ? top : top * slope);
        }
        Array<T> out(n), in_place = x, gradient(n), gradient_in_place = dy;
        backend.relu(kType<T>, count_of(n), slope, x.data(), out.data());
        backend.relu(kType<T>, count_of(n), slope, in_place.data(), in_place.data());
        backend.relu_backward(kType<T>, count_of(n), slope, out.data(), dy.data(), gradient.data());
        backend
            .relu_backward(kType<T>, count_of(n), slope, x.data(), gradient_in_place.data(), gradient_in_place.data());
        CHECK(difference(out, y) < tolerance<T>(1));
        CHECK(difference(gradient, dx) < tolerance<T>(1));
        CHECK(same_bits(out, in_place));
        CHECK(same_bits(gradient, gradient_in_place));
      }
    }
  });
}

TEST_CASE("maps, in place and not, on any number of threads") {
  const auto alone = make_cpu_backend(1, Isa::Portable);
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (int kind = 0; kind <= static_cast<int>(MapKind::Tanh); ++kind) {
      const Map map{static_cast<MapKind>(kind), 0.75, 1.5, 1.25};
      CAPTURE(kind);
      for (const std::size_t n : kCounts) {
        const auto x = random_array<T>(n, 1), dy = random_array<T>(n, 2);
        Array<T> expected(n), expected_gradient(n), y(n), in_place = x, gradient(n), gradient_in_place = dy;
        alone->map(kType<T>, map, count_of(n), x.data(), expected.data());
        backend.map(kType<T>, map, count_of(n), x.data(), y.data());
        backend.map(kType<T>, map, count_of(n), in_place.data(), in_place.data());
        CHECK(same_or_near(backend, y, expected));
        CHECK(same_or_near(backend, in_place, expected));

        const MapOperand kept = slope_operand(map);
        const T* const operand = kept == MapOperand::X ? x.data() : kept == MapOperand::Y ? y.data() : nullptr;
        alone->map_backward(kType<T>, map, count_of(n), operand, dy.data(), expected_gradient.data());
        backend.map_backward(kType<T>, map, count_of(n), operand, dy.data(), gradient.data());
        backend.map_backward(kType<T>, map, count_of(n), operand, gradient_in_place.data(), gradient_in_place.data());
        CHECK(same_or_near(backend, gradient, expected_gradient));
        CHECK(same_or_near(backend, gradient_in_place, expected_gradient));
      }
    }
  });
}

/// Philox4x32-10 written from its definition, on one counter.
std::array<std::uint32_t, 4> philox(std::uint64_t block, std::uint64_t sequence, std::uint64_t seed) {
  const auto low = [](std::uint64_t word) { return static_cast<std::uint32_t>(word); };
  const auto high = [](std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); };
  std::array<std::uint32_t, 4> c = {low(block), high(block), low(sequence), high(sequence)};
  std::uint32_t key0 = low(seed), key1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    if (round > 0) key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c[0], b = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {high(b) ^ c[1] ^ key0, low(b), high(a) ^ c[3] ^ key1, low(a)};
  }
  return c;
}

TEST_CASE("dropout follows the stream of Philox4x32-10") {
  // The known answers that come with Random123.
  CHECK(philox(0, 0, 0) == std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint64_t ones = ~std::uint64_t{0};
  CHECK(philox(ones, ones, ones) == std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  const std::uint64_t seed = 0xec4e6c89a4093822, sequence = 0x0370734413198a2e;
  CHECK(
      philox(0x85a308d3243f6a88, sequence, 0x299f31d0a4093822) ==
      std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : kCounts) {
      const auto x = random_array<T>(n, 1, 1, 2);
      for (const double keep : {0.0, 0.3, 0.5, 1.0}) {
        Array<T> y(n), in_place = x;
        backend.dropout(kType<T>, count_of(n), keep, 2.5, seed, sequence, x.data(), y.data());
        backend.dropout(kType<T>, count_of(n), keep, 2.5, seed, sequence, in_place.data(), in_place.data());
        std::vector<double> expected;
        for (std::size_t i = 0; i < n; ++i) {
          const double word = static_cast<double>(philox(i / 4, sequence, seed)[i % 4]);
          expected.push_back(word < keep * 4294967296.0 ? 2.5 * static_cast<double>(x[i]) : 0);
        }
        CHECK(difference(y, expected) < tolerance<T>(1));
        CHECK(same_bits(y, in_place));
      }
    }
  });
}

TEST_CASE("softmax and its gradient") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const SoftmaxShape s : {SoftmaxShape{64, 10}, {1, 1}, {3, 7, 5}, {700, 1000}}) {
      const auto n = static_cast<std::size_t>(s.outer * s.classes * s.inner);
      const auto x = random_array<T>(n, 3, -40, 100), dy = random_array<T>(n, 4);
      std::vector<double> y(n), dx(n);
      for (Index i = 0; i < s.outer * s.inner; ++i) {
        const auto at = [&](Index c) {
          return static_cast<std::size_t>((i / s.inner * s.classes + c) * s.inner + i % s.inner);
        };
        double largest = -kInf, total = 0, dot = 0;
        for (Index c = 0; c < s.classes; ++c) largest = std::max(largest, static_cast<double>(x[at(c)]));
        for (Index c = 0; c < s.classes; ++c) total += y[at(c)] = std::exp(static_cast<double>(x[at(c)]) - largest);
        for (Index c = 0; c < s.classes; ++c) dot += (y[at(c)] /= total) * static_cast<double>(dy[at(c)]);
        for (Index c = 0; c < s.classes; ++c) dx[at(c)] = y[at(c)] * (static_cast<double>(dy[at(c)]) - dot);
      }
      Array<T> out = x, gradient = dy;
      backend.softmax(kType<T>, s, out.data(), out.data());
      backend.softmax_backward(kType<T>, s, out.data(), gradient.data(), gradient.data());
      CHECK(difference(out, y) < tolerance<T>(20));
      CHECK(difference(gradient, dx) < tolerance<T>(20));
    }
  });
}

namespace {

struct Found {
  double sum;
  Index valid, bad_label;
  double mean;
};

template <class T>
Found loss_of(Backend& backend, const LossPass& pass) {
  Array<T> y(1);
  Array<LossState> state(1);
  Array<Index> verdict(1);
  backend.loss(kType<T>, pass, y.data(), state.data(), verdict.data());
  return {state[0].sum, state[0].valid, verdict[0], static_cast<double>(y[0])};
}

/// Of half the sum.
template <class T>
void gradient_of(Backend& backend, const LossPass& pass, Array<T>& dx) {
  Array<T> dy(1, T(2));
  Array<LossState> state(1);
  Array<Index> verdict(1);
  backend.loss(kType<T>, pass, dy.data(), state.data(), verdict.data());
  dy[0] = T(2);
  backend.loss_backward(kType<T>, pass, 0.25, dy.data(), state.data(), dx.data());
}

}  // namespace

TEST_CASE("softmax loss") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    const SoftmaxShape s{2, 3, 2};
    const auto prob = random_array<T>(12, 3, 0.1, 0.9);
    Array<T> labels(4), dx(12);
    labels[0] = T(2), labels[1] = T(0), labels[2] = T(-1), labels[3] = T(1);
    LossPass pass{LossKind::Softmax, s, prob.data(), labels.data()};
    pass.has_ignore = true;
    pass.ignore = -1;
    const Found loss = loss_of<T>(backend, pass);
    CHECK(loss.bad_label == -1);
    CHECK(loss.valid == 3);
    const auto log_of = [&](std::size_t i) { return std::log(static_cast<double>(prob[i])); };
    CHECK(std::abs(loss.sum + log_of(4) + log_of(1) + log_of(9)) < 1e-6);

    CHECK(std::abs(loss.mean - loss.sum) < 1e-6);
    pass.divisor = 0;
    CHECK(std::abs(loss_of<T>(backend, pass).mean - loss.sum / 3) < 1e-6);
    gradient_of(backend, pass, dx);
    std::vector<double> by_valid;
    for (std::size_t i = 0; i < 12; ++i) by_valid.push_back(3 * static_cast<double>(dx[i]));
    pass.divisor = 1;

    gradient_of(backend, pass, dx);
    auto expected = doubles(prob);
    for (const std::size_t i : {4u, 1u, 9u}) expected[i] -= 1;
    for (double& value : expected) value *= 0.5;
    for (const std::size_t i : {6u, 8u, 10u}) expected[i] = 0;
    CHECK(difference(dx, expected) < tolerance<T>(1));
    CHECK(difference(dx, by_valid) < tolerance<T>(1));

    pass.has_ignore = false;
    CHECK(loss_of<T>(backend, pass).bad_label == 2);
    pass.has_ignore = true;
    for (const double bad : {3.0, -2.0, 0.5, kNan, kInf, -kInf, 1e30, -1e30}) {
      labels[1] = static_cast<T>(bad);
      CHECK(loss_of<T>(backend, pass).bad_label == 1);
      gradient_of(backend, pass, dx);
    }
    Array<T> none(12, T(0));
    labels[1] = T(0);
    pass.x = none.data();
    const Found huge = loss_of<T>(backend, pass);
    CHECK((std::isfinite(huge.sum) && huge.sum > 100));
    none[1] = static_cast<T>(kNan);
    CHECK(std::isnan(loss_of<T>(backend, pass).sum));
  });
}

TEST_CASE("losses of labels, on any number of threads") {
  const SoftmaxShape s{700, 9, 2};
  const auto examples = static_cast<std::size_t>(s.outer * s.inner), count = examples * 9;
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    auto x = random_array<T>(count, 1, 0.1, 0.9);
    const auto scores = random_array<T>(count, 2), matrix = random_array<T>(81, 3);
    for (const LossKind kind :
         {LossKind::Hinge, LossKind::HingeSquares, LossKind::Infogain, LossKind::Logistic, LossKind::SmoothSoftmax}) {
      Array<T> labels(examples), dx(count), again(count);
      for (std::size_t i = 0; i < examples; ++i) labels[i] = static_cast<T>(i % 10 == 0 ? 99 : i % 9);
      LossPass pass{kind, s, x.data(), labels.data(), 1, true, 99, matrix.data(), scores.data(), 0.25};
      const Found loss = loss_of<T>(backend, pass);
      CHECK(loss.bad_label == -1);
      CHECK(loss.valid == s.outer * s.inner * 9 / 10);
      CHECK(loss.sum == loss_of<T>(backend, pass).sum);
      gradient_of(backend, pass, dx);
      gradient_of(backend, pass, again);
      CHECK(same_bits(dx, again));

      const auto alone = make_cpu_backend(1, Isa::Portable);
      CHECK(std::abs(loss.sum - loss_of<T>(*alone, pass).sum) < sum_tolerance(backend) * std::abs(loss.sum));
      gradient_of(*alone, pass, again);
      CHECK(same_or_near(backend, dx, again));

      labels[650] = T(9), labels[1200] = static_cast<T>(kNan);
      CHECK(loss_of<T>(backend, pass).bad_label == 650);
      labels[1] = T(-1);
      CHECK(loss_of<T>(backend, pass).bad_label == 1);
    }
  });
}

TEST_CASE("losses of pairs and of targets, on any number of threads") {
  const SoftmaxShape s{1400, 9, 1};
  constexpr std::size_t count = 1400 * 9;
  const auto alone = make_cpu_backend(1, Isa::Portable);
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const auto x = random_array<T>(count, 1);
    for (const LossKind kind :
         {LossKind::Contrastive, LossKind::ContrastiveSquares, LossKind::SigmoidCrossEntropy, LossKind::Euclidean}) {
      Array<T> labels(count), dx(count, T(7)), again(count, T(7));
      for (std::size_t i = 0; i < count; ++i) labels[i] = static_cast<T>(i % 3 == 0 ? 1 : 0);
      LossPass pass{kind, s, x.data(), labels.data()};
      pass.margin = 2;
      const Found loss = loss_of<T>(backend, pass), expected = loss_of<T>(*alone, pass);
      CHECK(loss.valid == expected.valid);
      CHECK(std::abs(loss.sum - expected.sum) < sum_tolerance(backend) * std::abs(loss.sum));
      gradient_of(backend, pass, dx);
      gradient_of(*alone, pass, again);
      CHECK(same_or_near(backend, dx, again));
      if (kind == LossKind::SigmoidCrossEntropy || kind == LossKind::Euclidean) continue;
      labels[650] = labels[1200] = static_cast<T>(kNan);
      CHECK(loss_of<T>(backend, pass).bad_label == 650);
    }
  });
}

TEST_CASE("eltwise") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    const double coeff[] = {2, -0.5, 1};
    for (const std::size_t n : kCounts) {
      std::vector<Array<T>> x = {
          random_array<T>(n, 1, -2, 2),
          random_array<T>(n, 2, -2, 2),
          random_array<T>(n, 3, -2, 2)};
      for (Array<T>& array : x) {
        for (std::size_t i = 0; i < n; i += 2) array[i] = std::floor(array[i]);
      }
      const auto dy = random_array<T>(n, 4);
      for (const int inputs : {1, 2, 3}) {
        for (const EltwiseOp op : {EltwiseOp::Sum, EltwiseOp::Product, EltwiseOp::Max}) {
          const void* pointers[] = {x[0].data(), x[1].data(), x[2].data()};
          std::vector<double> y(n);
          std::vector<std::vector<double>> dx(3, std::vector<double>(n, 0));
          for (std::size_t i = 0; i < n; ++i) {
            double sum = 0, product = 1, max = -kInf;
            int winner = 0;
            for (int j = 0; j < inputs; ++j) {
              const double value = static_cast<double>(x[static_cast<std::size_t>(j)][i]);
              sum += coeff[j] * value, product *= value;
              if (value > max) max = value, winner = j;
            }
            y[i] = op == EltwiseOp::Sum ? sum : op == EltwiseOp::Product ? product : max;
            for (int j = 0; j < inputs; ++j) {
              double others = 1;
              for (int k = 0; k < inputs; ++k) {
                if (k != j) others *= static_cast<double>(x[static_cast<std::size_t>(k)][i]);
              }
              const double factor = op == EltwiseOp::Sum       ? coeff[j]
                                    : op == EltwiseOp::Product ? others
                                    : winner == j              ? 1
                                                               : 0;
              dx[static_cast<std::size_t>(j)][i] = factor * static_cast<double>(dy[i]);
            }
          }
          Array<T> out(n), in_place = x[static_cast<std::size_t>(inputs - 1)];
          backend.eltwise(kType<T>, op, count_of(n), inputs, pointers, coeff, {}, out.data());
          CHECK(difference(out, y) < tolerance<T>(3));
          for (int j = 0; j < inputs; ++j) {
            Array<T> gradient(n), gradient_in_place = dy;
            backend.eltwise_backward(kType<T>, op, count_of(n), inputs, pointers, coeff, j, dy.data(), gradient.data());
            backend.eltwise_backward(
                kType<T>,
                op,
                count_of(n),
                inputs,
                pointers,
                coeff,
                j,
                gradient_in_place.data(),
                gradient_in_place.data());
            CHECK(difference(gradient, dx[static_cast<std::size_t>(j)]) < tolerance<T>(3));
            CHECK(same_bits(gradient, gradient_in_place));
          }
          pointers[inputs - 1] = in_place.data();
          backend.eltwise(kType<T>, op, count_of(n), inputs, pointers, coeff, {}, in_place.data());
          CHECK(same_bits(out, in_place));
          pointers[inputs - 1] = x[static_cast<std::size_t>(inputs - 1)].data();
          backend.eltwise(kType<T>, op, count_of(n), inputs, pointers, coeff, {true, 0.25}, in_place.data());
          backend.relu(kType<T>, count_of(n), 0.25, out.data(), out.data());
          CHECK(same_bits(out, in_place));
        }
      }
    }
  });
}

TEST_CASE("NaN goes through eltwise max") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (int position = 0; position < 3; ++position) {
      std::vector<Array<T>> x(3, Array<T>(20, T(1)));
      x[static_cast<std::size_t>(position)][7] = static_cast<T>(kNan);
      const void* const pointers[] = {x[0].data(), x[1].data(), x[2].data()};
      Array<T> y(20), dy(20, T(1)), dx(20);
      backend.eltwise(kType<T>, EltwiseOp::Max, 20, 3, pointers, nullptr, {}, y.data());
      for (std::size_t i = 0; i < 20; ++i) CHECK(std::isnan(y[i]) == (i == 7));
      for (int input = 0; input < 3; ++input) {
        backend.eltwise_backward(kType<T>, EltwiseOp::Max, 20, 3, pointers, nullptr, input, dy.data(), dx.data());
        CHECK(dx[7] == (input == position ? T(1) : T(0)));
      }
    }
  });
}

TEST_CASE("copying rows") {
  on_every_backend([](Backend& backend, auto) {
    for (const std::size_t rows : {0u, 3u, 900u}) {
      const auto from = random_array<double>(rows * 40, 1);
      Array<double> to(rows * 33, 7.0);
      backend.copy_rows(count_of(rows), 240, from.data(), 320, to.data(), 264);
      bool good = true;
      for (std::size_t i = 0; i < to.size(); ++i) good &= to[i] == (i % 33 < 30 ? from[i / 33 * 40 + i % 33] : 7.0);
      CHECK(good);
    }
  });
}

TEST_CASE("axpy, sums and sums of squares") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : kCounts) {
      const auto x = random_array<T>(n, 1), y = random_array<T>(n, 2);
      std::vector<double> sum;
      double squares = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double value = static_cast<double>(x[i]);
        sum.push_back(static_cast<double>(y[i]) + 0.3 * value);
        squares += value * value;
      }
      Array<T> a = y;
      backend.axpy(kType<T>, count_of(n), 0.3, x.data(), a.data());
      CHECK(difference(a, sum) < tolerance<T>(1));
      Array<double> total(2);
      for (std::size_t i = 0; i < 2; ++i) backend.add_squares(kType<T>, count_of(n), x.data(), &total[i]);
      CHECK(std::abs(total[0] - squares) <= 1e-12 * squares);
      CHECK(total[0] == total[1]);
      backend.clip_factor(std::sqrt(squares) / 4, &total[0]);
      backend.clip_factor(std::sqrt(squares) * 4 + 1, &total[1]);
      CHECK(total[0] == doctest::Approx(n == 0 ? 1 : 0.25));
      CHECK(total[1] == 1);
      double plain = 0;
      for (std::size_t i = 0; i < n; ++i) plain += static_cast<double>(x[i]);
      total[0] = 5;
      backend.add_sum(kType<T>, count_of(n), 2, x.data(), &total[0]);
      CHECK(std::abs(total[0] - 5 - 2 * plain) <= 1e-9);
    }
  });
}

TEST_CASE("updates that are asked for together are those of one by one") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    struct Arrays {
      Array<T> w, h, h2;
    };
    // More than one kernel does, of which some are empty.
    constexpr std::size_t kArrays = 110;
    const auto size_of = [](std::size_t k) { return k % 7 == 3 ? std::size_t{0} : k % 10 == 0 ? 5000 + k : 1 + k; };
    const auto run = [&](bool together) {
      std::vector<Arrays> all;
      std::vector<Array<T>> gradients;
      for (std::size_t k = 0; k < kArrays; ++k) {
        const auto seed = static_cast<unsigned>(3 * k);
        const std::size_t n = size_of(k);
        all.push_back(
            {random_array<T>(n, seed), random_array<T>(n, seed + 1, 0, 1), random_array<T>(n, seed + 2, 0, 1)});
        gradients.push_back(random_array<T>(n, seed + 7));
      }
      for (std::size_t k = 0; k < kArrays; ++k) {
        UpdatePass pass{
            .count = count_of(size_of(k)),
            .weights = all[k].w.data(),
            .gradient = gradients[k].data(),
            .history = all[k].h.data(),
            .history2 = all[k].h2.data(),
            .rate = 0.01 * static_cast<double>(1 + k),
            .decay = 0.02 * static_cast<double>(k % 3),
            .gradient_scale = 0.5,
            .momentum = 0.9,
            .gain = 0.1,
            .momentum2 = 0.99,
            .gain2 = 0.01,
            .delta = 0.001,
            .shrink = 0.001 * static_cast<double>(k % 4)};
        // Of every kind, and each number that arrays of a kernel have in common differs somewhere.
        pass.kind = static_cast<UpdateKind>(k / 60);
        if (k == 61) pass.momentum = 0.8;
        if (k == 63) pass.gain = 0.2;
        if (k == 67) pass.l1 = true;
        if (k == 69) pass.gradient_scale = 2;
        if (k >= 72) pass.kind = k < 80 ? UpdateKind::RmsProp : k < 88 ? UpdateKind::AdaDelta : UpdateKind::Adam;
        if (k == 75) pass.delta = 0.1;
        if (k == 91) pass.momentum2 = 0.5;
        if (k == 95) pass.gain2 = 0.5;
        backend.update(kType<T>, pass);
        if (!together) backend.end_updates();
      }
      backend.end_updates();
      backend.end_updates();
      return all;
    };
    const std::vector<Arrays> got = run(true), expected = run(false);
    for (std::size_t k = 0; k < kArrays; ++k) {
      CAPTURE(k);
      CHECK(same_bits(got[k].w, expected[k].w));
      CHECK(same_bits(got[k].h, expected[k].h));
      CHECK(same_bits(got[k].h2, expected[k].h2));
    }
  });
}

TEST_CASE("one pass of SGD") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : kCounts) {
      for (const bool l1 : {false, true}) {
        auto w = random_array<T>(n, 1), h = random_array<T>(n, 2);
        if (n > 1) w[1] = T(0);
        const auto g = random_array<T>(n, 3);
        std::vector<double> new_w, new_h;
        for (std::size_t i = 0; i < n; ++i) {
          const double weight = static_cast<double>(w[i]), sign = weight > 0 ? 1 : weight < 0 ? -1 : 0;
          const double gradient = 0.5 * static_cast<double>(g[i]) + 0.01 * (l1 ? sign : weight);
          new_h.push_back(0.9 * static_cast<double>(h[i]) + 0.1 * gradient);
          new_w.push_back(weight - new_h.back());
        }
        backend.update(
            kType<T>,
            {.count = count_of(n),
             .weights = w.data(),
             .gradient = g.data(),
             .history = h.data(),
             .rate = 0.1,
             .decay = 0.01,
             .gradient_scale = 0.5,
             .l1 = l1,
             .momentum = 0.9});
        backend.end_updates();
        CHECK(difference(w, new_w) < tolerance<T>(1));
        CHECK(difference(h, new_h) < tolerance<T>(1));
      }
    }
  });
}

TEST_CASE("local response normalisation") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const LrnRegion region : {LrnRegion::AcrossChannels, LrnRegion::WithinChannel}) {
      for (const Index size : {1, 3, 4, 5}) {
        for (const double beta : {0.75, 1.0, 0.5, 0.6}) {
          const LrnShape s{2, 7, 9, 31, size, 0.8, beta, 1.5, region};
          const Index pixels = s.height * s.width;
          const auto n = static_cast<std::size_t>(s.batch * s.channels * pixels);
          const auto x = random_array<T>(n, 1, -2, 2), dy = random_array<T>(n, 2);
          const bool across = region == LrnRegion::AcrossChannels;
          const double alpha = s.alpha / static_cast<double>(across ? size : size * size);
          const Index before = (size - 1) / 2;
          // Calls f(i, j) for every element j in the window of element i.
          const auto for_windows = [&](auto&& f) {
            for (Index i = 0; i < count_of(n); ++i) {
              const Index c = i / pixels % s.channels, h = i / s.width % s.height, w = i % s.width;
              for (Index a = -before; a < size - before; ++a) {
                if (across) {
                  if (c + a >= 0 && c + a < s.channels)
                    f(static_cast<std::size_t>(i), static_cast<std::size_t>(i + a * pixels));
                  continue;
                }
                for (Index b = -before; b < size - before; ++b) {
                  if (h + a < 0 || h + a >= s.height || w + b < 0 || w + b >= s.width) continue;
                  f(static_cast<std::size_t>(i), static_cast<std::size_t>(i + a * s.width + b));
                }
              }
            }
          };
          std::vector<double> sums(n, s.k), y(n), dx(n);
          for_windows([&](std::size_t i, std::size_t j) {
            sums[i] += alpha * static_cast<double>(x[j]) * static_cast<double>(x[j]);
          });
          for (std::size_t i = 0; i < n; ++i) {
            y[i] = static_cast<double>(x[i]) * std::pow(sums[i], -beta);
            dx[i] = static_cast<double>(dy[i]) * std::pow(sums[i], -beta);
          }
          for_windows([&](std::size_t i, std::size_t j) {
            dx[j] -= 2 * alpha * beta * static_cast<double>(x[j]) * static_cast<double>(dy[i]) * y[i] / sums[i];
          });
          const auto plan = backend.lrn(kType<T>, s);
          Scratch state(plan->state_bytes());
          Array<T> out(n), gradient(n, T(7));
          plan->forward(x.data(), out.data(), state.get());
          plan->backward(x.data(), out.data(), state.get(), dy.data(), gradient.data());
          CHECK(difference(out, y) < tolerance<T>(25));
          CHECK(difference(gradient, dx) < tolerance<T>(25));
        }
      }
    }
  });
}

}  // namespace
}  // namespace sparknet::kernels
