#include "tests/cuda/bf16.h"

// Images that lie in memory as NHWC beside the same ones in NCHW, op by op.

namespace sparknet::kernels {
namespace {

std::size_t size(Index count) {
  return static_cast<std::size_t>(count);
}

/// [outer][columns][rows] of what is [outer][rows][columns].
template <class T>
Array<T> turned(const Array<T>& x, Index outer, Index rows, Index columns) {
  REQUIRE(x.size() == size(outer * rows * columns));
  Array<T> y(x.size());
  for (Index o = 0; o < outer; ++o)
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < columns; ++c) y[size((o * columns + c) * rows + r)] = x[size((o * rows + r) * columns + c)];
  return y;
}

/// Images of a number of pixels, from one order to the other.
struct Images {
  Index batch, channels, pixels;

  std::size_t count() const { return size(batch * channels * pixels); }
  template <class T>
  Array<T> to_nhwc(const Array<T>& x) const {
    return turned(x, batch, channels, pixels);
  }
  template <class T>
  Array<T> to_nchw(const Array<T>& x) const {
    return turned(x, batch, pixels, channels);
  }
};

template <class F>
void for_types(const F& f) {
  f(float{});
  f(double{});
  f(Half{});
}

/// Sums of the same numbers, in any order, and rounded.
template <class T>
double nearness() {
  return sizeof(T) == 8 ? 1e-13 : sizeof(T) == 4 ? 1e-5 : 2 * kHalfUnit;
}

TEST_CASE("nhwc: transposition") {
  const auto backend = test::make_gpu_backend();
  struct Size {
    Index outer, rows, columns;
  };
  for (const Size& s :
       {Size{0, 3, 4},
        {1, 1, 1},
        {3, 1, 7},
        {3, 7, 1},
        {2, 3, 50},
        {2, 50, 3},
        {1, 32, 32},
        {2, 33, 65},
        {3, 100, 31},
        {3, 31, 100},
        {1, 64, 97}}) {
    CAPTURE(s.outer);
    CAPTURE(s.rows);
    CAPTURE(s.columns);
    const std::size_t count = size(s.outer * s.rows * s.columns);
    for_types([&](auto zero) {
      using T = decltype(zero);
      const auto x = random_array<T>(count, 1);
      Array<T> y(count);
      backend->transpose(dtype_of<T>, dtype_of<T>, s.outer, s.rows, s.columns, x.data(), y.data());
      CHECK(same_bits(y, turned(x, s.outer, s.rows, s.columns)));
    });
    const auto wide = random_array<float>(count, 2);
    Array<Half> narrow(count), narrowed(count);
    backend->convert(DType::F32, DType::BF16, s.outer * s.rows * s.columns, wide.data(), narrow.data());
    backend->transpose(DType::F32, DType::BF16, s.outer, s.rows, s.columns, wide.data(), narrowed.data());
    CHECK(same_bits(narrowed, turned(narrow, s.outer, s.rows, s.columns)));
    Array<float> widened(count);
    backend->transpose(DType::BF16, DType::F32, s.outer, s.rows, s.columns, narrow.data(), widened.data());
    CHECK(same_bits(widened, turned(converted<float>(narrow), s.outer, s.rows, s.columns)));
  }
}

/// Of a convolution, or of a deconvolution, whose x is the other's y.
template <class T>
void check_products(Backend& backend, const ConvolutionShape& s, bool reversed, bool accumulate) {
  using P = Beside<T>;
  const Activation relu{true, 0.25};
  const auto plan_of = [&](bool nhwc) {
    ConvolutionShape shape = s;
    shape.nhwc = nhwc;
    return reversed ? backend.deconvolution(dtype_of<T>, shape, relu) : backend.convolution(dtype_of<T>, shape, relu);
  };
  const Images image{s.batch, s.channels, s.height * s.width}, outputs{s.batch, s.num_output, s.out_h() * s.out_w()};
  const Images &of_x = reversed ? outputs : image, &of_y = reversed ? image : outputs;
  const auto x = half_numbers<T>(of_x.count(), 1), kept_y = half_numbers<T>(of_y.count(), 2);
  const auto dy = half_numbers<T>(of_y.count(), 3);
  const auto weights = half_numbers<P>(size(s.num_output * (s.channels / s.group) * s.kernel_h * s.kernel_w), 4);
  const auto bias = half_numbers<P>(size(of_y.channels), 5);
  const auto old = half_numbers<P>(weights.size(), 6);
  const auto old_bias = half_numbers<P>(bias.size(), 7);

  struct Passes {
    Array<T> y, dy, dx;
    Array<P> dweights, dbias;
  };
  const auto run = [&](bool nhwc, bool wants_dx, bool wants_dweights) {
    const auto in_order = [&](const Images& images, const Array<T>& array) {
      return nhwc ? images.to_nhwc(array) : array;
    };
    const auto plan = plan_of(nhwc);
    Scratch scratch(plan->scratch_bytes());
    const Array<T> given_x = in_order(of_x, x), given_y = in_order(of_y, kept_y);
    Passes p{Array<T>(of_y.count(), T(9.0)), in_order(of_y, dy), Array<T>(of_x.count(), T(9.0)), old, old_bias};
    plan->forward(given_x.data(), weights.data(), bias.data(), p.y.data(), scratch.get());
    plan->backward(
        {given_x.data(),
         weights.data(),
         given_y.data(),
         p.dy.data(),
         wants_dx ? p.dx.data() : nullptr,
         wants_dweights ? p.dweights.data() : nullptr,
         p.dbias.data(),
         accumulate},
        scratch.get());
    if (nhwc) {
      p.y = of_y.to_nchw(p.y);
      p.dy = of_y.to_nchw(p.dy);
      p.dx = of_x.to_nchw(p.dx);
    }
    return p;
  };
  const Passes expected = run(false, true, true);
  for (const bool wants_dx : {false, true})
    for (const bool wants_dweights : {false, true}) {
      const Passes got = run(true, wants_dx, wants_dweights);
      CHECK(difference(got.y, doubles(expected.y)) < nearness<T>());
      CHECK(same_bits(got.dy, expected.dy));
      CHECK(difference(got.dbias, doubles(expected.dbias)) < nearness<P>());
      if (wants_dx) {
        CHECK(difference(got.dx, doubles(expected.dx)) < nearness<T>());
      } else {
        CHECK(same_bits(got.dx, Array<T>(got.dx.size(), T(9.0))));
      }
      if (wants_dweights) {
        CHECK(difference(got.dweights, doubles(expected.dweights)) < nearness<T>());
      } else {
        CHECK(same_bits(got.dweights, old));
      }
    }
}

TEST_CASE("nhwc: convolutions and deconvolutions") {
  const auto backend = test::make_gpu_backend();
  for (const ConvolutionShape& s : std::vector<ConvolutionShape>{
           {1, 1, 1, 1, 1, 1, 1},                         // a single pixel
           {2, 7, 6, 5, 9, 1, 1},                         // 1x1
           {2, 6, 7, 7, 4, 1, 1, 2, 2},                   //
           {2, 1, 9, 8, 4, 3, 2},                         // one channel
           {2, 3, 7, 9, 4, 3, 2},                         //
           {1, 40, 6, 7, 34, 3, 3, 1, 1, 1, 1},           // more than a square of both
           {1, 3, 35, 33, 6, 11, 11, 4, 4},               //
           {2, 4, 9, 9, 6, 3, 3, 2, 2, 1, 1},             // strides
           {1, 2, 9, 9, 3, 3, 3, 1, 1, 2, 2, 2, 2},       // dilation
           {2, 3, 11, 10, 4, 3, 2, 2, 3, 1, 1, 2, 3},     // both
           {2, 4, 10, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 2},   // groups
           {2, 8, 6, 6, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},    //
           {1, 4, 13, 11, 6, 5, 4, 2, 3, 4, 5, 3, 2, 2},  //
           {0, 3, 5, 5, 4, 3, 3},                         // no image
       }) {
    INFO(describe(s));
    for_types([&](auto zero) {
      for (const bool reversed : {false, true})
        for (const bool accumulate : {false, true}) check_products<decltype(zero)>(*backend, s, reversed, accumulate);
    });
  }
}

TEST_CASE("nhwc: pooling") {
  const auto backend = test::make_gpu_backend();
  for (const PoolingShape& s : std::vector<PoolingShape>{
           {2, 3, 7, 9, 3, 4, 3, 3, 2, 2},
           {2, 1, 6, 6, 3, 3, 2, 2, 2, 2},
           {1, 35, 5, 4, 5, 4, 3, 3, 1, 1, 1, 1},
           {3, 4, 5, 5, 1, 1, 5, 5},
           {1, 2, 33, 32, 17, 28, 17, 5, 1, 1},  // winners that a byte does not hold
           {0, 3, 5, 5, 2, 2, 2, 2, 2, 2}}) {
    const Images pixels{s.batch, s.channels, s.height * s.width}, outputs{s.batch, s.channels, s.out_h * s.out_w};
    for (const PoolMethod method : {PoolMethod::Max, PoolMethod::Average, PoolMethod::Stochastic}) {
      if (method == PoolMethod::Stochastic && s.pad_h > 0) continue;
      for_types([&](auto zero) {
        using T = decltype(zero);
        const auto x = random_array<T>(pixels.count(), 1, 0, 1), dy = random_array<T>(outputs.count(), 2);
        struct Passes {
          Array<T> mean, y, dx;
          Array<Beside<T>> places;
        };
        const auto run = [&](bool nhwc) {
          PoolingShape shape = s;
          shape.nhwc = nhwc;
          const Array<T> given_x = nhwc ? pixels.to_nhwc(x) : x, given_dy = nhwc ? outputs.to_nhwc(dy) : dy;
          const auto plan = backend->pooling(dtype_of<T>, shape, method);
          Passes p{
              Array<T>(outputs.count()),
              Array<T>(outputs.count()),
              Array<T>(pixels.count()),
              Array<Beside<T>>(outputs.count())};
          Scratch mask(plan->mask_bytes());
          plan->forward(given_x.data(), p.mean.data(), nullptr);
          plan->forward_random(given_x.data(), p.y.data(), mask.get(), {5, 7, 3});
          plan->backward(given_dy.data(), mask.get(), p.dx.data());
          if (method != PoolMethod::Average) plan->places(mask.get(), p.places.data());
          if (!nhwc) return p;
          return Passes{outputs.to_nchw(p.mean), outputs.to_nchw(p.y), pixels.to_nchw(p.dx), outputs.to_nchw(p.places)};
        };
        const Passes expected = run(false), got = run(true);
        CHECK(same_bits(got.mean, expected.mean));
        CHECK(same_bits(got.y, expected.y));
        CHECK(same_bits(got.dx, expected.dx));
        CHECK(same_bits(got.places, expected.places));
      });
    }
  }
}

TEST_CASE("nhwc: LRN") {
  const auto backend = test::make_gpu_backend();
  for (LrnShape s : std::vector<LrnShape>{
           {2, 19, 5, 3, 5, 1.3, 0.75, 1},
           {3, 4, 7, 5, 3, 1.3, 0.6, 1.7},
           {2, 1, 4, 4, 3, 1, 0.75, 1},
           {0, 3, 5, 7, 3, 1, 0.75, 1}}) {
    const Images images{s.batch, s.channels, s.height * s.width};
    for (const LrnRegion region : {LrnRegion::AcrossChannels, LrnRegion::WithinChannel}) {
      s.region = region;
      for_types([&](auto zero) {
        using T = decltype(zero);
        const auto x = random_array<T>(images.count(), 1, -2, 2), dy = random_array<T>(images.count(), 2);
        const auto run = [&](bool nhwc) {
          LrnShape shape = s;
          shape.nhwc = nhwc;
          const Array<T> given_x = nhwc ? images.to_nhwc(x) : x, given_dy = nhwc ? images.to_nhwc(dy) : dy;
          const auto plan = backend->lrn(dtype_of<T>, shape);
          Array<T> y(images.count()), dx(images.count());
          Scratch state(plan->state_bytes());
          plan->forward(given_x.data(), y.data(), state.get());
          plan->backward(given_x.data(), y.data(), state.get(), given_dy.data(), dx.data());
          return nhwc ? std::pair(images.to_nchw(y), images.to_nchw(dx)) : std::pair(y, dx);
        };
        const auto expected = run(false), got = run(true);
        CHECK(difference(got.first, doubles(expected.first)) < nearness<T>());
        CHECK(difference(got.second, doubles(expected.second)) < nearness<T>());
      });
    }
  }
}

}  // namespace
}  // namespace sparknet::kernels
