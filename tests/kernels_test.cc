#include "tests/kernels_test.h"

#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/thread_team.h"

namespace sparknet::kernels {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <class T>
constexpr DType kType = dtype_of<T>;

// ---------------------------------------------------------------------------------------------- convolution, by hand

struct Gradients {
  std::vector<double> dx, dw, db;
};

/// Calls f(output index, input index, weight index) for every product of a convolution.
template <class F>
void for_products(const ConvolutionShape& s, F&& f) {
  const Index cg = s.channels / s.group, og = s.num_output / s.group, oh_n = s.out_h(), ow_n = s.out_w();
  for (Index n = 0; n < s.batch; ++n) {
    for (Index o = 0; o < s.num_output; ++o) {
      for (Index oh = 0; oh < oh_n; ++oh) {
        for (Index ow = 0; ow < ow_n; ++ow) {
          const Index out = ((n * s.num_output + o) * oh_n + oh) * ow_n + ow;
          for (Index c = 0; c < cg; ++c) {
            for (Index kh = 0; kh < s.kernel_h; ++kh) {
              const Index h = oh * s.stride_h - s.pad_h + kh * s.dilation_h;
              if (h < 0 || h >= s.height) continue;
              for (Index kw = 0; kw < s.kernel_w; ++kw) {
                const Index w = ow * s.stride_w - s.pad_w + kw * s.dilation_w;
                if (w < 0 || w >= s.width) continue;
                const Index in = ((n * s.channels + o / og * cg + c) * s.height + h) * s.width + w;
                f(static_cast<std::size_t>(out),
                  static_cast<std::size_t>(in),
                  static_cast<std::size_t>(((o * cg + c) * s.kernel_h + kh) * s.kernel_w + kw));
              }
            }
          }
        }
      }
    }
  }
}

template <class F>
void for_products(const InnerProductShape& s, F&& f) {
  for (Index n = 0; n < s.batch; ++n) {
    for (Index o = 0; o < s.num_output; ++o) {
      for (Index i = 0; i < s.inputs; ++i) {
        f(static_cast<std::size_t>(n * s.num_output + o),
          static_cast<std::size_t>(n * s.inputs + i),
          static_cast<std::size_t>(o * s.inputs + i));
      }
    }
  }
}

struct Sizes {
  std::size_t x, w, y, outputs, pixels;
};
Sizes sizes(const ConvolutionShape& s) {
  const Index pixels = s.out_h() * s.out_w();
  return {
      static_cast<std::size_t>(s.batch * s.channels * s.height * s.width),
      static_cast<std::size_t>(s.num_output * (s.channels / s.group) * s.kernel_h * s.kernel_w),
      static_cast<std::size_t>(s.batch * s.num_output * pixels),
      static_cast<std::size_t>(s.num_output),
      static_cast<std::size_t>(pixels)};
}
Sizes sizes(const InnerProductShape& s) {
  return {
      static_cast<std::size_t>(s.batch * s.inputs),
      static_cast<std::size_t>(s.num_output * s.inputs),
      static_cast<std::size_t>(s.batch * s.num_output),
      static_cast<std::size_t>(s.num_output),
      1};
}

std::unique_ptr<Linear> make_plan(Backend& backend, DType dtype, const ConvolutionShape& s, Activation activation) {
  return backend.convolution(dtype, s, activation);
}
std::unique_ptr<Linear> make_plan(Backend& backend, DType dtype, const InnerProductShape& s, Activation activation) {
  return backend.inner_product(dtype, s, activation);
}

/// Checks the forward pass with prepared weights, where there is one.
template <class T>
void check_prepared(
    Backend& backend, const ConvolutionShape& shape, Activation activation, const Array<T>& x, const Array<T>& w,
    const T* bias, const std::vector<double>& expected, double terms) {
  const auto plan = backend.prepared_convolution(kType<T>, shape, activation);
  if (!plan) return;
  Scratch prepared(plan->prepared_bytes()), scratch(plan->scratch_bytes());
  plan->prepare(w.data(), prepared.get(), scratch.get());
  Array<T> y(expected.size(), T(7));
  for (int pass = 0; pass < 2; ++pass) {
    plan->forward(x.data(), prepared.get(), bias, y.data(), scratch.get());
    CHECK(difference(y, expected) < tolerance<T>(terms));
  }
}
template <class... Args>
void check_prepared(Backend&, const InnerProductShape&, Args&&...) {}

double activate(double value, Activation activation) {
  return activation.relu && value < 0 ? value * activation.negative_slope : value;
}

/// Compares forward and backward with sums in double, in one variant each of bias, activation, accumulation.
template <class T, class Shape>
void check_linear(Backend& backend, const Shape& shape, unsigned seed) {
  const Sizes n = sizes(shape);
  const bool has_bias = seed % 3 != 0, accumulate = seed % 2 != 0;
  const Activation activation{seed % 4 != 3, seed % 8 >= 4 ? 0.25 : 0.0};
  const auto x = random_array<T>(n.x, seed), w = random_array<T>(n.w, seed + 1),
             b = random_array<T>(n.outputs, seed + 2);
  const auto plan = make_plan(backend, kType<T>, shape, activation);
  Scratch scratch(plan->scratch_bytes());
  const double terms = static_cast<double>(n.w / n.outputs);

  Array<T> y(n.y, T(7));
  plan->forward(x.data(), w.data(), has_bias ? b.data() : nullptr, y.data(), scratch.get());
  std::vector<double> expected(n.y, 0);
  for (std::size_t i = 0; i < n.y && has_bias; ++i) expected[i] = static_cast<double>(b[i / n.pixels % n.outputs]);
  for_products(shape, [&](std::size_t out, std::size_t in, std::size_t weight) {
    expected[out] += static_cast<double>(x[in]) * static_cast<double>(w[weight]);
  });
  for (double& value : expected) value = activate(value, activation);
  CHECK(difference(y, expected) < tolerance<T>(terms));
  check_prepared(backend, shape, activation, x, w, has_bias ? b.data() : nullptr, expected, terms);

  const auto dy = random_array<T>(n.y, seed + 3);
  Array<T> masked = dy;
  auto expected_dy = doubles(dy);
  for (std::size_t i = 0; i < n.y; ++i) {
    if (activation.relu && !(y[i] > T(0))) expected_dy[i] *= activation.negative_slope;
  }
  const auto old_dw = random_array<T>(n.w, seed + 4), old_db = random_array<T>(n.outputs, seed + 5);
  Array<T> dw = old_dw, db = old_db, dx(n.x, T(7));
  plan->backward(
      {x.data(), w.data(), y.data(), masked.data(), dx.data(), dw.data(), db.data(), accumulate},
      scratch.get());
  std::vector<double> expected_dx(n.x, 0);
  auto expected_dw = accumulate ? doubles(old_dw) : std::vector<double>(n.w, 0);
  auto expected_db = accumulate ? doubles(old_db) : std::vector<double>(n.outputs, 0);
  for_products(shape, [&](std::size_t out, std::size_t in, std::size_t weight) {
    expected_dx[in] += expected_dy[out] * static_cast<double>(w[weight]);
    expected_dw[weight] += expected_dy[out] * static_cast<double>(x[in]);
  });
  for (std::size_t i = 0; i < n.y; ++i) expected_db[i / n.pixels % n.outputs] += expected_dy[i];
  const double positions = static_cast<double>(n.y / n.outputs);
  CHECK(difference(masked, expected_dy) < tolerance<T>(1));
  CHECK(
      difference(dx, expected_dx) < tolerance<T>(terms * static_cast<double>(n.y) / static_cast<double>(n.x) + terms));
  CHECK(difference(dw, expected_dw) < tolerance<T>(positions));
  CHECK(difference(db, expected_db) < tolerance<T>(positions));

  // Every subset of the gradients gives the same bits, again and again.
  for (int subset = 0; subset < 8; ++subset) {
    Array<T> again = dy, other_dw = old_dw, other_db = old_db, other_dx(n.x, T(7));
    plan->backward(
        {x.data(),
         w.data(),
         y.data(),
         again.data(),
         subset & 1 ? other_dx.data() : nullptr,
         subset & 2 ? other_dw.data() : nullptr,
         subset & 4 ? other_db.data() : nullptr,
         accumulate},
        scratch.get());
    CHECK(same_bits(other_dx, subset & 1 ? dx : Array<T>(n.x, T(7))));
    CHECK(same_bits(other_dw, subset & 2 ? dw : old_dw));
    CHECK(same_bits(other_db, subset & 4 ? db : old_db));
  }
  Array<T> y_again(n.y);
  plan->forward(x.data(), w.data(), has_bias ? b.data() : nullptr, y_again.data(), scratch.get());
  CHECK(same_bits(y, y_again));
}

TEST_CASE("convolutions of many shapes") {
  const std::vector<ConvolutionShape> shapes = {
      {3, 1, 28, 28, 20, 5, 5},                        // LeNet
      {2, 20, 12, 12, 50, 5, 5},                       //
      {2, 3, 32, 32, 32, 5, 5, 1, 1, 2, 2},            // cifar10_quick
      {1, 32, 8, 8, 64, 5, 5, 1, 1, 2, 2},             //
      {1, 3, 35, 35, 24, 11, 11, 4, 4},                // as AlexNet's first
      {1, 12, 13, 13, 16, 5, 5, 1, 1, 2, 2, 1, 1, 2},  // as its second
      {1, 1, 1, 1, 1, 1, 1},                           // a single pixel
      {2, 3, 1, 1, 5, 1, 1},                           //
      {2, 5, 1, 1, 3, 3, 3, 1, 1, 1, 1},               // a single pixel in its padding
      {2, 7, 6, 5, 9, 1, 1},                           // 1x1
      {3, 16, 4, 4, 8, 1, 1},                          //
      {2, 6, 7, 7, 4, 1, 1, 2, 2},                     //
      {2, 4, 5, 5, 6, 1, 1, 1, 1, 0, 0, 1, 1, 2},      //
      {5, 37, 7, 7, 45, 1, 1},                         // 1x1 at pixels of many images
      {3, 24, 24, 25, 50, 1, 1, 1, 1, 0, 0, 1, 1, 2},  //
      {4, 20, 13, 15, 18, 1, 1, 2, 3},                 //
      {1, 2, 3, 3, 3, 3, 3, 1, 1, 4, 4},               // more padding than kernel
      {1, 2, 9, 9, 3, 3, 3, 1, 1, 2, 2, 2, 2},         // dilation
      {2, 3, 11, 10, 4, 3, 2, 2, 3, 1, 1, 2, 3},       //
      {2, 8, 6, 6, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},      // one channel to a group
      {2, 5, 14, 17, 5, 3, 3, 2, 2, 1, 1, 1, 1, 5},    //
      {1, 4, 9, 10, 12, 3, 5, 1, 2, 1, 2, 1, 1, 4},    // with three outputs
      {2, 3, 12, 11, 3, 3, 3, 1, 1, 2, 2, 2, 2, 3},    //
      {1, 6, 8, 9, 12, 2, 3, 3, 2, 1, 2, 1, 2, 6},     //
      {2, 5, 13, 13, 5, 3, 3, 4, 4, 1, 1, 1, 1, 5},    // pixels between the windows
      {1, 3, 6, 5, 3, 2, 2, 1, 1, 3, 3, 1, 1, 3},      //
      {2, 4, 10, 9, 4, 5, 4, 2, 3, 4, 5, 3, 2, 4},     //
      {2, 3, 9, 40, 5, 1, 21},                         // long kernels
      {1, 2, 40, 3, 5, 17, 1, 3, 1},                   //
      {1, 2, 4, 70, 3, 3, 3, 1, 1, 1, 1},              // wide images
      {1, 16, 130, 96, 2, 3, 3, 1, 1, 1, 1},           // several bands
      {2, 16, 100, 90, 3, 3, 3, 2, 2, 0, 0},           //
  };
  on_every_backend([&](Backend& backend, auto zero) {
    unsigned seed = 1;
    for (const ConvolutionShape& shape : shapes) {
      INFO(describe(shape));
      check_linear<decltype(zero)>(backend, shape, ++seed);
    }
  });
}

TEST_CASE("random convolutions") {
  std::mt19937 engine(17);
  const auto pick = [&](Index low, Index high) { return std::uniform_int_distribution<Index>(low, high)(engine); };
  std::vector<std::unique_ptr<Backend>> backends;
  for (const Isa isa : isas()) {
    for (const int threads : {1, 2, 3}) backends.push_back(make_cpu_backend(threads, isa));
  }
  for (unsigned i = 0; i < 240;) {
    ConvolutionShape s{};
    s.group = pick(0, 3) == 0 ? pick(2, 3) : 1;
    s.batch = pick(1, 4);
    s.channels = s.group * pick(1, 9);
    s.num_output = s.group * pick(1, 19);
    s.height = pick(1, 18);
    s.width = pick(1, 22);
    s.kernel_h = pick(1, 5);
    s.kernel_w = pick(1, 6);
    s.stride_h = pick(0, 1) ? 1 : pick(1, 3);
    s.stride_w = pick(0, 1) ? 1 : pick(1, 3);
    s.pad_h = pick(0, 3);
    s.pad_w = pick(0, 3);
    s.dilation_h = pick(0, 3) == 0 ? pick(2, 3) : 1;
    s.dilation_w = pick(0, 3) == 0 ? pick(2, 3) : 1;
    if (s.height + 2 * s.pad_h < s.dilation_h * (s.kernel_h - 1) + 1) continue;
    if (s.width + 2 * s.pad_w < s.dilation_w * (s.kernel_w - 1) + 1) continue;
    Backend& backend = *backends[i % backends.size()];
    INFO(backend.description(), ": ", describe(s));
    if (i / backends.size() % 2) {
      check_linear<float>(backend, s, i);
    } else {
      check_linear<double>(backend, s, i);
    }
    ++i;
  }
}

const std::vector<ConvolutionShape> winograd_shapes = {
    {2, 3, 4, 4, 5, 3, 3},                          // one tile of four by four points
    {3, 16, 13, 13, 20, 3, 3, 1, 1, 1, 1},          // tiles that hang over
    {2, 40, 14, 7, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1},  // two blocks of outputs
    {2, 17, 28, 28, 32, 3, 3, 1, 1, 2, 2},          // all the padding there can be
    {5, 12, 7, 9, 12, 3, 3, 1, 1, 0, 1, 1, 1, 3},   // groups
    {3, 20, 12, 12, 50, 5, 5},                      // LeNet
    {2, 32, 16, 16, 32, 5, 5, 1, 1, 2, 2},          // cifar10_quick
    {2, 10, 9, 6, 34, 5, 5, 1, 1, 4, 3, 1, 1, 2},   //
    {1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1},              // a single pixel
    {2, 150, 8, 8, 150, 3, 3, 1, 1, 1, 1},          // several sums of weight gradients
};

TEST_CASE("minimal filtering") {
  if (test::on_gpu()) return;
  for (const Isa isa : isas()) {
    for (const int threads : {1, 2, 3}) {
      const auto backend = make_cpu_backend(threads, isa, Winograd::Always);
      INFO(backend->description());
      unsigned seed = 50;
      for (const ConvolutionShape& shape : winograd_shapes) {
        INFO(describe(shape));
        check_linear<float>(*backend, shape, ++seed);
        check_linear<double>(*backend, shape, seed);
      }
    }
  }
}

TEST_CASE("minimal filtering rounds at most three times as much as plain sums") {
  if (test::on_gpu()) return;
  for (const ConvolutionShape& shape :
       {ConvolutionShape{2, 64, 8, 8, 32, 3, 3},     // tiles of 2x2
        ConvolutionShape{1, 256, 18, 18, 32, 3, 3},  // of 4x4
        ConvolutionShape{1, 256, 12, 12, 32, 5, 5}}) {
    INFO(describe(shape));
    const Sizes n = sizes(shape);
    const auto x = random_array<float>(n.x, 1, 0, 1), w = random_array<float>(n.w, 2);
    std::vector<double> exact(n.y, 0);
    for_products(shape, [&](std::size_t out, std::size_t in, std::size_t weight) {
      exact[out] += static_cast<double>(x[in]) * static_cast<double>(w[weight]);
    });
    const auto error = [&](Winograd when) {
      const auto backend = make_cpu_backend(1, best_isa(), when);
      const auto plan = backend->convolution(DType::F32, shape, {});
      Scratch scratch(plan->scratch_bytes());
      Array<float> y(n.y);
      plan->forward(x.data(), w.data(), nullptr, y.data(), scratch.get());
      double squares = 0;
      for (std::size_t i = 0; i < n.y; ++i) squares += std::pow(static_cast<double>(y[i]) - exact[i], 2);
      return std::sqrt(squares);
    };
    const double ratio = error(Winograd::Always) / error(Winograd::Never);
    CHECK(ratio < 3);
  }
}

/// y, dx, dw and db, one behind the other.
template <class T>
Array<T> results(Backend& backend, const ConvolutionShape& shape) {
  const Sizes n = sizes(shape);
  const auto x = random_array<T>(n.x, 1), w = random_array<T>(n.w, 2), b = random_array<T>(n.outputs, 3);
  auto dy = random_array<T>(n.y, 4);
  const auto plan = backend.convolution(kType<T>, shape, {true, 0});
  Scratch scratch(plan->scratch_bytes());
  Array<T> all(n.y + n.x + n.w + n.outputs);
  T *const y = all.data(), *const dx = y + n.y, *const dw = dx + n.x, *const db = dw + n.w;
  plan->forward(x.data(), w.data(), b.data(), y, scratch.get());
  plan->backward({x.data(), w.data(), y, dy.data(), dx, dw, db, false}, scratch.get());
  return all;
}

TEST_CASE("minimal filtering is done where it is faster, in F32 alone, and not where it was ruled out") {
  if (test::on_gpu()) return;
  const ConvolutionShape large{2, 64, 28, 28, 64, 3, 3, 1, 1, 1, 1}, first{2, 1, 28, 28, 8, 3, 3, 1, 1, 1, 1};
  const auto of = [](Winograd when, const ConvolutionShape& shape, auto zero) {
    return results<decltype(zero)>(*make_cpu_backend(1, best_isa(), when), shape);
  };
  const auto never = of(Winograd::Never, large, 0.0f), always = of(Winograd::Always, large, 0.0f);
  CHECK_FALSE(same_bits(never, always));
  CHECK(same_bits(of(Winograd::WhereFaster, large, 0.0f), always));
  CHECK(same_bits(of(Winograd::WhereFaster, first, 0.0f), of(Winograd::Never, first, 0.0f)));
  CHECK_FALSE(same_bits(of(Winograd::Always, large, 0.0), of(Winograd::Never, large, 0.0)));
  CHECK(same_bits(of(Winograd::WhereFaster, large, 0.0), of(Winograd::Never, large, 0.0)));
}

TEST_CASE("inner products") {
  const std::vector<InnerProductShape> shapes = {
      {1, 1, 1},
      {1, 37, 19},
      {2, 64, 32},
      {3, 7, 5},
      {5, 800, 50},
      {7, 10, 100},
      {17, 33, 65},
      {64, 50, 10},
      {33, 1500, 3},
      {300, 9, 21},
      {16, 3, 700},
      {40, 1024, 30},
      {9, 512, 17},
      {8, 300, 1},
      {130, 37, 50},     // enough examples to turn the weights
      {140, 530, 300},   // in several blocks
      {128, 1024, 70}};  // whose rows collide
  on_every_backend([&](Backend& backend, auto zero) {
    unsigned seed = 100;
    for (const InnerProductShape& shape : shapes) {
      INFO(shape.batch, ' ', shape.inputs, ' ', shape.num_output);
      check_linear<decltype(zero)>(backend, shape, ++seed);
    }
  });
}

TEST_CASE("NaN goes through convolutions and inner products, and nowhere else") {
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const ConvolutionShape shape{2, 2, 6, 6, 3, 3, 3};
    const auto plan = backend.convolution(kType<T>, shape, {true, 0});
    Scratch scratch(plan->scratch_bytes());
    auto x = random_array<T>(sizes(shape).x, 1, 0.5, 1);
    const auto w = random_array<T>(sizes(shape).w, 2, 0.5, 1);
    x[0] = static_cast<T>(kNan);
    Array<T> y(sizes(shape).y);
    plan->forward(x.data(), w.data(), nullptr, y.data(), scratch.get());
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i < 48 && i % 16 == 0));

    const auto inner = backend.inner_product(kType<T>, {9, 5, 3}, {true, 0});
    Scratch inner_scratch(inner->scratch_bytes());
    auto rows = random_array<T>(45, 1, 0.5, 1);
    rows[10] = static_cast<T>(kNan);
    Array<T> z(27);
    inner->forward(rows.data(), w.data(), nullptr, z.data(), inner_scratch.get());
    for (std::size_t i = 0; i < z.size(); ++i) CHECK(std::isnan(z[i]) == (i / 3 == 2));
  });
}

// ------------------------------------------------------------------------------------------------------------ pooling

template <class T>
void check_pooling(Backend& backend, const PoolingShape& s, unsigned seed) {
  const auto planes = static_cast<std::size_t>(s.batch * s.channels);
  const auto pixels = static_cast<std::size_t>(s.height * s.width),
             outputs = static_cast<std::size_t>(s.out_h * s.out_w);
  // Few different numbers, so that the first of equal ones has to win.
  auto x = random_array<T>(planes * pixels, seed, -3, 3);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::floor(x[i]);
  const auto dy = random_array<T>(planes * outputs, seed + 1);
  std::vector<double> max(dy.size()), average(dy.size(), 0), max_dx(x.size(), 0), average_dx(x.size(), 0);
  for (std::size_t plane = 0; plane < planes; ++plane) {
    for (Index oh = 0; oh < s.out_h; ++oh) {
      for (Index ow = 0; ow < s.out_w; ++ow) {
        const Index top = oh * s.stride_h - s.pad_h, left = ow * s.stride_w - s.pad_w;
        const Index bottom = std::min(top + s.kernel_h, s.height + s.pad_h);
        const Index right = std::min(left + s.kernel_w, s.width + s.pad_w);
        const double area = static_cast<double>((bottom - top) * (right - left));
        const std::size_t out = plane * outputs + static_cast<std::size_t>(oh * s.out_w + ow);
        double best = 0;
        std::size_t winner = x.size();
        for (Index h = std::max<Index>(top, 0); h < std::min(bottom, s.height); ++h) {
          for (Index w = std::max<Index>(left, 0); w < std::min(right, s.width); ++w) {
            const std::size_t in = plane * pixels + static_cast<std::size_t>(h * s.width + w);
            const double value = static_cast<double>(x[in]);
            if (winner == x.size() || value > best) best = value, winner = in;
            average[out] += value / area;
            average_dx[in] += static_cast<double>(dy[out]) / area;
          }
        }
        max[out] = best;
        if (winner < x.size()) max_dx[winner] += static_cast<double>(dy[out]);
      }
    }
  }
  for (const PoolMethod method : {PoolMethod::Max, PoolMethod::Average}) {
    const auto plan = backend.pooling(kType<T>, s, method);
    Array<unsigned char> mask(plan->mask_bytes());
    Array<T> y(dy.size(), T(7)), maskless(dy.size(), T(7)), dx(x.size(), T(7));
    plan->forward(x.data(), y.data(), mask.data());
    plan->forward(x.data(), maskless.data(), nullptr);
    plan->backward(dy.data(), mask.data(), dx.data());
    CHECK(difference(y, method == PoolMethod::Max ? max : average) < tolerance<T>(9));
    CHECK(difference(dx, method == PoolMethod::Max ? max_dx : average_dx) < tolerance<T>(9));
    CHECK(same_bits(y, maskless));
  }
}

TEST_CASE("pooling") {
  const std::vector<PoolingShape> shapes = {
      {3, 5, 24, 24, 12, 12, 2, 2, 2, 2},      // LeNet
      {2, 3, 7, 9, 3, 4, 2, 2, 2, 2},          // the last row and column unused
      {2, 3, 7, 9, 4, 5, 2, 2, 2, 2},          // rounded up
      {2, 4, 32, 32, 16, 16, 3, 3, 2, 2},      // cifar10
      {2, 4, 13, 13, 7, 7, 3, 3, 2, 2, 1, 1},  // padded
      {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},          //
      {1, 2, 6, 6, 1, 1, 6, 6, 1, 1},          // global
      {2, 3, 10, 11, 8, 9, 3, 3, 1, 1},        //
      {1, 3, 15, 17, 5, 6, 3, 2, 3, 3},        //
      {1, 1, 5, 5, 4, 4, 3, 3, 2, 2, 2, 2},    //
      {30, 20, 24, 24, 12, 12, 2, 2, 2, 2},    // enough for all threads
      {30, 10, 24, 24, 12, 12, 3, 3, 2, 2},    //
  };
  on_every_backend([&](Backend& backend, auto zero) {
    unsigned seed = 1;
    for (const PoolingShape& shape : shapes) check_pooling<decltype(zero)>(backend, shape, ++seed);
  });
}

TEST_CASE("NaN goes through pooling") {
  on_every_backend([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const Index kernel : {2, 3}) {
      for (const PoolMethod method : {PoolMethod::Max, PoolMethod::Average}) {
        for (std::size_t at : {0u, 1u, 8u, 9u}) {
          auto x = random_array<T>(64, 3);
          x[at] = static_cast<T>(kNan);
          const auto plan = backend.pooling(kType<T>, {1, 1, 8, 8, 4, 4, kernel, kernel, 2, 2}, method);
          Array<unsigned char> mask(plan->mask_bytes());
          Array<T> y(16);
          plan->forward(x.data(), y.data(), mask.data());
          for (std::size_t i = 0; i < 16; ++i) CHECK(std::isnan(y[i]) == (i == 0));
        }
      }
    }
  });
}

}  // namespace
}  // namespace sparknet::kernels
