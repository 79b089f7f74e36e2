#include <functional>
#include <initializer_list>
#include <limits>
#include <string>

#include "src/cuda.h"
#include "tests/cuda/bf16.h"

// Convolutions and inner products in BF16 beside the same ones in F64.

namespace sparknet::kernels {
namespace {

/// A rounding, and an error of sums in F32 before it.
constexpr double kSumError = 1e-5, kRounded = kHalfUnit + kSumError;

constexpr Activation kNone{}, kRelu{true, 0}, kLeaky{true, 0.25};

template <class T, class From>
Array<T> as(const Array<From>& from) {
  Array<T> to(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(static_cast<double>(from[i]));
  return to;
}

/// What a plan is tested with: it may use so many bytes of scratch and not one more.
struct ExactScratch {
  explicit ExactScratch(std::size_t bytes) : memory(test::shared_memory(bytes)) {
    std::memset(memory.get(), 0xff, bytes);
  }
  std::shared_ptr<void> memory;
};

/// A convolution, a deconvolution or an inner product.
struct Subject {
  std::string name;
  std::function<std::unique_ptr<Linear>(Backend&, DType, Activation)> plan;
  std::size_t x, weights, y, bias;
  /// Whether cuDNN may give the gradient of the weights, which it rounds.
  bool rounds_gradient = false;
};

std::size_t count(Index number) {
  return static_cast<std::size_t>(number);
}

Subject convolution(const ConvolutionShape& s, bool reversed) {
  const std::size_t weights = count(s.num_output * (s.channels / s.group) * s.kernel_h * s.kernel_w);
  const std::size_t x = count(s.batch * s.channels * s.height * s.width);
  const std::size_t y = count(s.batch * s.num_output * s.out_h() * s.out_w());
  const std::string shape = ' ' + describe(s);
  if (reversed)
    return {
        "deconvolution" + shape,
        [=](Backend& backend, DType dtype, Activation activation) {
          return backend.deconvolution(dtype, s, activation);
        },
        y,
        weights,
        x,
        count(s.channels),
        true};
  return {
      "convolution" + shape,
      [=](Backend& backend, DType dtype, Activation activation) { return backend.convolution(dtype, s, activation); },
      x,
      weights,
      y,
      count(s.num_output),
      true};
}

Subject convolution(const ConvolutionNdShape& s, bool reversed) {
  const WindowShape& window = s.window;
  const std::size_t weights = count(s.num_output * (window.channels / s.group) * window.taps());
  const std::size_t x = count(window.batch * window.channels * window.pixels());
  const std::size_t y = count(window.batch * s.num_output * window.positions());
  const std::string axes = " over axes: " + std::to_string(window.axes);
  const bool rounds_gradient = window.axes <= 2;
  if (reversed)
    return {
        "deconvolution" + axes,
        [=](Backend& backend, DType dtype, Activation activation) {
          return backend.deconvolution_nd(dtype, s, activation);
        },
        y,
        weights,
        x,
        count(window.channels),
        rounds_gradient};
  return {
      "convolution" + axes,
      [=](Backend& backend, DType dtype, Activation activation) {
        return backend.convolution_nd(dtype, s, activation);
      },
      x,
      weights,
      y,
      count(s.num_output),
      rounds_gradient};
}

Subject inner_product(const InnerProductShape& s) {
  return {
      "inner product of " + std::to_string(s.batch) + " by " + std::to_string(s.num_output),
      [=](Backend& backend, DType dtype, Activation activation) { return backend.inner_product(dtype, s, activation); },
      count(s.batch * s.inputs),
      count(s.num_output * s.inputs),
      count(s.batch * s.num_output),
      count(s.num_output)};
}

/// The gradients of a backward pass; those that nobody asked for are as they were.
template <class T, class P>
struct Gradients {
  Array<T> dy, dx;
  Array<P> dweights, dbias;
};

constexpr unsigned kAll = 7;

/// `wanted` has a bit for each of dx, dweights and dbias.
template <class T, class P>
Gradients<T, P> backward(
    Linear& plan, const Subject& subject, const Array<T>& x, const Array<P>& weights, const Array<T>& y,
    const Array<T>& dy, const Array<P>& old_weights, const Array<P>& old_bias, bool accumulate,
    unsigned wanted = kAll) {
  Gradients<T, P> g{dy, Array<T>(subject.x, T(7.0)), old_weights, old_bias};
  const ExactScratch scratch(plan.scratch_bytes());
  plan.backward(
      {x.data(),
       weights.data(),
       y.data(),
       g.dy.data(),
       wanted & 1 ? g.dx.data() : nullptr,
       wanted & 2 ? g.dweights.data() : nullptr,
       wanted & 4 ? g.dbias.data() : nullptr,
       accumulate},
      scratch.memory.get());
  return g;
}

template <class T, class P>
Array<T> forward(Linear& plan, const Subject& subject, const Array<T>& x, const Array<P>& weights, const P* bias) {
  Array<T> y(subject.y, T(7.0));
  const ExactScratch scratch(plan.scratch_bytes());
  plan.forward(x.data(), weights.data(), bias, y.data(), scratch.memory.get());
  return y;
}

/// Numbers that have been rounded once, after sums of F32, and before that so many times more.
void check_rounded(const Array<Half>& got, const Array<double>& expected, int more = 0) {
  REQUIRE(got.size() == expected.size());
  double largest = 1;
  for (std::size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(expected[i]));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double allowed = kHalfUnit * (std::abs(expected[i]) + more * largest) + kSumError * largest;
    wrong += !(std::abs(static_cast<double>(got[i]) - expected[i]) <= allowed);
  }
  CHECK(wrong == 0);
}

void check(Backend& backend, const Subject& subject, Activation activation, bool has_bias, bool accumulate) {
  const auto narrow = subject.plan(backend, DType::BF16, activation);
  const auto wide = subject.plan(backend, DType::F64, activation);
  const auto x = random_array<Half>(subject.x, 1), dy = random_array<Half>(subject.y, 4);
  const auto weights = as<float>(random_array<Half>(subject.weights, 2));
  const auto bias = random_array<float>(subject.bias, 3);
  const auto wide_bias = as<double>(bias);

  const Array<Half> y = forward(*narrow, subject, x, weights, has_bias ? bias.data() : nullptr);
  check_rounded(
      y,
      forward(*wide, subject, as<double>(x), as<double>(weights), has_bias ? wide_bias.data() : nullptr),
      has_bias || activation.negative_slope != 0);

  const auto old_weights = random_array<float>(subject.weights, 5), old_bias = random_array<float>(subject.bias, 6);
  const auto got = backward(*narrow, subject, x, weights, y, dy, old_weights, old_bias, accumulate);
  const auto expected = backward(
      *wide,
      subject,
      as<double>(x),
      as<double>(weights),
      as<double>(y),
      as<double>(dy),
      as<double>(old_weights),
      as<double>(old_bias),
      accumulate);
  CHECK(difference(got.dy, doubles(expected.dy)) == 0);
  check_rounded(got.dx, expected.dx);
  CHECK(difference(got.dweights, doubles(expected.dweights)) <= (subject.rounds_gradient ? kRounded : kSumError));
  CHECK(difference(got.dbias, doubles(expected.dbias)) <= 1e-6);

  for (unsigned wanted = 0; wanted <= kAll; ++wanted) {
    const auto some = backward(*narrow, subject, x, weights, y, dy, old_weights, old_bias, accumulate, wanted);
    CHECK(same_bits(some.dx, wanted & 1 ? got.dx : Array<Half>(subject.x, Half(7))));
    CHECK(same_bits(some.dweights, wanted & 2 ? got.dweights : old_weights));
    CHECK(same_bits(some.dbias, wanted & 4 ? got.dbias : old_bias));
  }
  CHECK(same_bits(forward(*narrow, subject, x, weights, has_bias ? bias.data() : nullptr), y));
}

void check_all_ways(Backend& backend, const Subject& subject) {
  INFO(subject.name);
  for (const Activation& activation : {kNone, kRelu, kLeaky}) {
    for (const bool has_bias : {false, true}) {
      for (const bool accumulate : {false, true}) check(backend, subject, activation, has_bias, accumulate);
    }
  }
}

const std::vector<ConvolutionShape> kShapes = {
    {1, 1, 1, 1, 1, 1, 1},                         // a single pixel
    {2, 5, 1, 1, 3, 3, 3, 1, 1, 1, 1},             // in its padding
    {2, 7, 6, 5, 9, 1, 1},                         // 1x1
    {2, 6, 7, 7, 4, 1, 1, 2, 2},                   //
    {3, 6, 3, 5, 9, 1, 1, 1, 1, 0, 0, 1, 1, 3},    // in groups, at odd places
    {2, 3, 7, 9, 4, 3, 2},                         //
    {2, 3, 14, 13, 8, 5, 5, 1, 1, 2, 2},           //
    {1, 3, 35, 33, 6, 11, 11, 4, 4},               //
    {2, 4, 9, 9, 6, 3, 3, 2, 2, 1, 1},             // strides
    {1, 2, 9, 9, 3, 3, 3, 1, 1, 2, 2, 2, 2},       // dilation
    {2, 3, 11, 10, 4, 3, 2, 2, 3, 1, 1, 2, 3},     // both
    {2, 4, 10, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 2},   // groups
    {2, 8, 6, 6, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},    //
    {1, 4, 13, 11, 6, 5, 4, 2, 3, 4, 5, 3, 2, 2},  //
    {0, 3, 5, 5, 4, 3, 3},                         // no image
};

/// A window over axes of the same stride, pad and dilation.
WindowShape window(
    Index batch, Index channels, const std::vector<Index>& size, const std::vector<Index>& kernel, Index stride,
    Index pad, Index dilation) {
  WindowShape shape{batch, channels, static_cast<int>(size.size()), {}, {}, {}, {}, {}};
  for (std::size_t axis = 0; axis < size.size(); ++axis) {
    shape.size[axis] = size[axis];
    shape.kernel[axis] = kernel[axis];
    shape.stride[axis] = stride;
    shape.pad[axis] = pad;
    shape.dilation[axis] = dilation;
  }
  return shape;
}

/// One of each kind of plan, with a single weight for each group.
std::vector<Subject> single_weights(Index batch) {
  const WindowShape cube = window(batch, 1, {1, 1, 1}, {1, 1, 1}, 1, 0, 1);
  return {
      convolution(ConvolutionShape{batch, 1, 1, 1, 1, 1, 1}, false),
      convolution(ConvolutionShape{batch, 1, 1, 1, 1, 1, 1}, true),
      convolution(ConvolutionShape{batch, 2, 1, 1, 2, 1, 1, 1, 1, 0, 0, 1, 1, 2}, false),
      convolution(ConvolutionShape{batch, 2, 1, 1, 2, 1, 1, 1, 1, 0, 0, 1, 1, 2}, true),
      convolution(ConvolutionNdShape{cube, 1, 1}, false),
      convolution(ConvolutionNdShape{cube, 1, 1}, true),
      inner_product({batch, 1, 1}),
      inner_product({batch, 1, 1, true})};
}

TEST_CASE("bf16: convolutions") {
  const auto backend = test::make_gpu_backend();
  for (const ConvolutionShape& shape : kShapes) check_all_ways(*backend, convolution(shape, false));
}

TEST_CASE("bf16: deconvolutions") {
  const auto backend = test::make_gpu_backend();
  for (const ConvolutionShape& shape : kShapes) check_all_ways(*backend, convolution(shape, true));
}

TEST_CASE("bf16: convolutions over one and three axes") {
  const auto backend = test::make_gpu_backend();
  const std::vector<ConvolutionNdShape> shapes = {
      {window(2, 3, {17}, {4}, 2, 1, 1), 5, 1},
      {window(2, 4, {12}, {3}, 1, 2, 2), 6, 2},
      {window(2, 3, {5, 6, 4}, {3, 2, 3}, 1, 1, 1), 5, 1},
      {window(1, 4, {7, 5, 6}, {2, 3, 2}, 2, 1, 2), 6, 2},
      {window(3, 3, {3, 1, 3}, {1, 1, 1}, 1, 0, 1), 5, 1},
      {window(0, 3, {5, 6, 4}, {3, 2, 3}, 1, 1, 1), 5, 1}};
  for (const ConvolutionNdShape& shape : shapes) {
    for (const bool reversed : {false, true}) check_all_ways(*backend, convolution(shape, reversed));
  }
}

TEST_CASE("bf16: inner products") {
  const auto backend = test::make_gpu_backend();
  const std::vector<InnerProductShape> shapes =
      {{1, 1, 1}, {5, 9, 7}, {1, 9, 7}, {4, 6, 1}, {7, 33, 129}, {3, 300, 10}, {5, 0, 7}, {0, 9, 7}};
  for (InnerProductShape shape : shapes) {
    for (const bool transposed : {false, true}) {
      shape.transposed = transposed;
      check_all_ways(*backend, inner_product(shape));
    }
  }
}

TEST_CASE("bf16: products are the same where F32 may be TF32") {
  const auto backend = make_cuda_backend({.tf32 = true, .waits = true});
  for (const Subject& subject :
       {inner_product({5, 9, 7}), convolution(kShapes[5], false), convolution(kShapes[11], true)})
    check_all_ways(*backend, subject);
}

TEST_CASE("bf16: weights are rounded to the nearest, and halves to the even") {
  const auto backend = test::make_gpu_backend();
  const float given[] = {1 + 1 / 256.0F, 1 + 3 / 256.0F, 1.005F, -3.14159F, 1e-30F};
  for (const Subject& subject : single_weights(1)) {
    INFO(subject.name);
    const auto plan = subject.plan(*backend, DType::BF16, kNone);
    const Array<Half> one(subject.x, Half(1));
    for (const float weight : given) {
      const Array<float> weights(subject.weights, weight), zero(subject.weights, 0), none(subject.bias);
      const Array<Half> y = forward<Half, float>(*plan, subject, one, weights, nullptr);
      CHECK(same_bits(y, Array<Half>(subject.y, Half(weight))));
      const auto gradients = backward(*plan, subject, one, weights, y, one, zero, none, false);
      CHECK(same_bits(gradients.dx, Array<Half>(subject.x, Half(weight))));
    }
  }
}

TEST_CASE("bf16: gradients of weights are added up in F32") {
  const auto backend = test::make_gpu_backend();
  constexpr double kSmall = 1.0 / 1024;  // which 1 in BF16 is not changed by
  for (const Subject& subject : single_weights(1)) {
    INFO(subject.name);
    const auto plan = subject.plan(*backend, DType::BF16, kNone);
    const Array<Half> x(subject.x, Half(1)), dy(subject.y, Half(kSmall));
    Array<float> dweights(subject.weights, 1), dbias(subject.bias, 1);
    const Array<float> weights(subject.weights, 1);
    for (int pass = 0; pass < 64; ++pass) {
      const auto gradients = backward(*plan, subject, x, weights, dy, dy, dweights, dbias, true);
      dweights = gradients.dweights;
      dbias = gradients.dbias;
    }
    for (const double sum : doubles(dweights)) CHECK(sum == 1 + 64 * kSmall);
    for (const double sum : doubles(dbias)) CHECK(sum == 1 + 64 * kSmall);
  }
  for (const Subject& subject : single_weights(64)) {
    INFO(subject.name);
    const auto plan = subject.plan(*backend, DType::BF16, kNone);
    const Array<Half> x(subject.x, Half(1)), dy(subject.y, Half(kSmall));
    const Array<float> weights(subject.weights, 1), old(subject.weights, 1), old_bias(subject.bias, 1);
    const auto gradients = backward(*plan, subject, x, weights, dy, dy, old, old_bias, true);
    for (const double sum : doubles(gradients.dweights)) CHECK(sum == 1 + 64 * kSmall);
  }
}

TEST_CASE("bf16: sums of products are of F32") {
  const auto backend = test::make_gpu_backend();
  // 1 changes nothing that is 256 in BF16.
  constexpr std::size_t kCount = 1024;
  const auto size = static_cast<Index>(kCount);
  for (const Subject& subject :
       {inner_product({1, size, 1}),
        inner_product({1, size, 1, true}),
        convolution(ConvolutionShape{1, size, 1, 1, 1, 1, 1}, false),
        convolution(ConvolutionShape{1, 1, 32, 32, 1, 32, 32}, false),
        convolution(ConvolutionNdShape{window(1, 1, {16, 8, 8}, {16, 8, 8}, 1, 0, 1), 1, 1}, false)}) {
    INFO(subject.name);
    const auto plan = subject.plan(*backend, DType::BF16, kNone);
    Array<Half> x(kCount, Half(1));
    x[0] = Half(256);
    const Array<float> weights(kCount, 1);
    const Array<Half> y = forward<Half, float>(*plan, subject, x, weights, nullptr);
    CHECK(static_cast<double>(y[0]) == 1280);
  }
  // A pixel that all taps meet, each at another position.
  const ConvolutionShape overlapping{1, 2, 31, 31, 2, 31, 31, 1, 1, 15, 15, 1, 1, 2};
  const Subject subject = convolution(overlapping, false);
  const auto plan = subject.plan(*backend, DType::BF16, kNone);
  const Array<Half> x(subject.x, Half(1)), dy(subject.y, Half(1));
  const Array<float> weights(subject.weights, 1), zero(subject.weights), none(subject.bias);
  const auto gradients = backward(*plan, subject, x, weights, dy, dy, zero, none, false);
  CHECK(static_cast<double>(gradients.dx[15 * 31 + 15]) == 960);  // of 961
}

TEST_CASE("bf16: what is not finite goes through products") {
  const auto backend = test::make_gpu_backend();
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const WindowShape cube = window(2, 4, {3, 3, 3}, {2, 2, 2}, 1, 0, 1);
  for (const Subject& subject :
       {inner_product({4, 9, 7}),
        inner_product({4, 9, 7, true}),
        convolution(ConvolutionShape{2, 3, 5, 5, 4, 3, 3}, false),
        convolution(ConvolutionShape{2, 4, 5, 5, 4, 3, 3, 1, 1, 0, 0, 1, 1, 2}, false),
        convolution(ConvolutionShape{2, 4, 5, 5, 4, 3, 3, 1, 1, 0, 0, 1, 1, 2}, true),
        convolution(ConvolutionNdShape{cube, 2, 1}, false)}) {
    INFO(subject.name);
    for (const double value : {inf, -inf, nan}) {
      const auto plan = subject.plan(*backend, DType::BF16, kRelu), wide = subject.plan(*backend, DType::F64, kRelu);
      auto x = random_array<Half>(subject.x, 1), dy = random_array<Half>(subject.y, 2);
      const auto weights = as<float>(random_array<Half>(subject.weights, 3));
      x[3] = dy[2] = Half(value);
      const auto y = forward<Half, float>(*plan, subject, x, weights, nullptr);
      const auto expected = forward<double, double>(*wide, subject, as<double>(x), as<double>(weights), nullptr);
      CHECK(difference(y, doubles(expected)) <= kRounded);
      const Array<float> zero(subject.weights), none(subject.bias);
      const Array<Half> open(subject.y, Half(1));
      const auto got = backward(*plan, subject, x, weights, open, dy, zero, none, false);
      const auto wanted = backward(
          *wide,
          subject,
          as<double>(x),
          as<double>(weights),
          as<double>(open),
          as<double>(dy),
          as<double>(zero),
          as<double>(none),
          false);
      CHECK(difference(got.dx, doubles(wanted.dx)) <= kRounded);
      CHECK(difference(got.dweights, doubles(wanted.dweights)) <= kRounded);
      CHECK(difference(got.dbias, doubles(wanted.dbias)) <= 1e-6);
    }
  }
}

TEST_CASE("bf16: columns are copied, and added up in F32") {
  const auto backend = test::make_gpu_backend();
  const WindowShape shape = window(2, 3, {7, 6}, {3, 2}, 1, 1, 2);
  const auto size = count(shape.batch * shape.channels * shape.taps() * shape.positions());
  const auto x = random_array<Half>(count(shape.batch * shape.channels * shape.pixels()), 1);
  Array<Half> columns(size);
  Array<float> wide_columns(size);
  backend->im2col(DType::BF16, shape, x.data(), columns.data());
  backend->im2col(DType::F32, shape, as<float>(x).data(), wide_columns.data());
  CHECK(same_bits(as<float>(columns), wide_columns));
  const auto from = random_array<Half>(size, 2);
  Array<Half> back(x.size());
  Array<double> expected(x.size());
  backend->col2im(DType::BF16, shape, from.data(), back.data());
  backend->col2im(DType::F64, shape, as<double>(from).data(), expected.data());
  check_rounded(back, expected);
}

TEST_CASE("bf16: products are recorded and repeated") {
  for (const Subject& subject : single_weights(1)) {
    INFO(subject.name);
    const auto backend = make_cuda_backend({});
    const auto plan = subject.plan(*backend, DType::BF16, kNone);
    const Array<Half> one(subject.x, Half(1));
    Array<Half> y(subject.y), dx(subject.x);
    Array<float> weights(subject.weights), dweights(subject.weights, 1);
    const ExactScratch scratch(plan->scratch_bytes());
    for (int step = 1; step <= 6; ++step) {
      const auto weight = static_cast<float>(step) + 0.001F;
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = weight;
      backend->begin_step();
      plan->forward(one.data(), weights.data(), nullptr, y.data(), scratch.memory.get());
      plan->backward(
          {one.data(), weights.data(), y.data(), y.data(), dx.data(), dweights.data(), nullptr, true},
          scratch.memory.get());
      backend->end_step();
      backend->wait();
      for (const double value : doubles(y)) CHECK(value == step);
      for (const double value : doubles(dx)) CHECK(value == step * step);
      for (const double sum : doubles(dweights)) CHECK(sum == 1 + step * (step + 1) / 2);
    }
  }
}

}  // namespace
}  // namespace sparknet::kernels
