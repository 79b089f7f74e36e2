#include "tests/cuda/bf16.h"

#include <limits>
#include <stdexcept>

// What is done in BF16, op by op.

namespace sparknet::kernels {
namespace {

TEST_CASE("bf16: numbers are rounded to the nearest, and halves to the even") {
  const auto backend = test::make_gpu_backend();
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> given =
      {0, -0.0F, 1, 1 + 1 / 256.0F, 1 + 3 / 256.0F, 1.005F, -3.14159F, 3e38F, 3.4e38F, 1e-40F, inf, -inf};
  Array<float> x(given.size() + 3), back(x.size());
  std::copy(given.begin(), given.end(), x.data());
  // And NaN that a sum would carry over, or whose upper half is infinite.
  const std::uint32_t others[] = {0x7fffffff, 0x7f800001};
  x[given.size()] = nan;
  std::memcpy(&x[given.size() + 1], others, sizeof others);
  Array<Half> y(x.size());
  backend->convert(DType::F32, DType::BF16, static_cast<Index>(x.size()), x.data(), y.data());
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(static_cast<double>(y[i]) == static_cast<double>(Half(x[i])));
  CHECK(static_cast<double>(y[3]) == 1);
  CHECK(static_cast<double>(y[4]) == 1 + 1 / 64.0);
  for (std::size_t i = given.size(); i < x.size(); ++i) CHECK(std::isnan(static_cast<double>(y[i])));
  backend->convert(DType::BF16, DType::F32, static_cast<Index>(x.size()), y.data(), back.data());
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(static_cast<double>(back[i]) == static_cast<double>(y[i]));
  for (std::size_t i = given.size(); i < x.size(); ++i) CHECK(std::isnan(back[i]));
}

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

/// None, odd ones, and more than a block of threads has.
const std::vector<std::size_t> kCounts = {0, 1, 3, 67, 1031};

Index count_of(std::size_t n) {
  return static_cast<Index>(n);
}

/// The arrays that an op has written: those of the blobs' type, and parameters' gradients, moments and states.
struct Written {
  std::vector<std::vector<double>> blobs, beside;
};

/// Runs f(backend, zero of the type), which returns what was Written, in BF16 and in F64, where the same numbers go in.
template <class F>
void check_rounded_once(F&& f) {
  const auto backend = test::make_gpu_backend();
  const Written got = f(*backend, Half{}), expected = f(*backend, double{});
  REQUIRE(got.blobs.size() == expected.blobs.size());
  for (std::size_t i = 0; i < got.blobs.size(); ++i) {
    CAPTURE(i);
    CHECK(roundings(got.blobs[i], expected.blobs[i]) <= 1);
  }
  REQUIRE(got.beside.size() == expected.beside.size());
  for (std::size_t i = 0; i < got.beside.size(); ++i) {
    CAPTURE(i);
    Array<float> narrow(got.beside[i].size());
    std::transform(got.beside[i].begin(), got.beside[i].end(), narrow.data(), [](double value) {
      return static_cast<float>(value);
    });
    CHECK(difference(narrow, expected.beside[i]) < 2e-6);
  }
}

/// Begins with what is no ordinary number, where there is room.
template <class T>
void put_specials(Array<T>& x) {
  const double specials[] = {kNan, -kInf, 0, kInf, -0.0};
  for (std::size_t i = 0; i < std::min<std::size_t>(x.size() / 2, 5); ++i) x[i] = static_cast<T>(specials[i]);
}

TEST_CASE("bf16: relu, in place and not") {
  for (const std::size_t n : kCounts) {
    for (const double slope : {0.0, 0.1, -0.3}) {
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        auto x = half_numbers<T>(n, 1);
        put_specials(x);
        const auto dy = half_numbers<T>(n, 2);
        Array<T> y(n), dx(n), y_in_place = x, dx_in_place = dy;
        backend.relu(dtype_of<T>, count_of(n), slope, x.data(), y.data());
        backend.relu(dtype_of<T>, count_of(n), slope, y_in_place.data(), y_in_place.data());
        backend.relu_backward(dtype_of<T>, count_of(n), slope, x.data(), dy.data(), dx.data());
        backend.relu_backward(dtype_of<T>, count_of(n), slope, x.data(), dx_in_place.data(), dx_in_place.data());
        CHECK(same_bits(y, y_in_place));
        CHECK(same_bits(dx, dx_in_place));
        return Written{{doubles(y), doubles(dx)}, {}};
      });
    }
  }
}

TEST_CASE("bf16: maps, in place and not") {
  std::vector<Map> maps = {{MapKind::Power, 0.7, 1.3, 2}, {MapKind::Elu, -0.7}};
  for (int kind = 0; kind <= static_cast<int>(MapKind::Tanh); ++kind)
    maps.push_back({static_cast<MapKind>(kind), 0.7, 1.3, 1.25});
  for (const Map& map : maps) {
    CAPTURE(static_cast<int>(map.kind));
    for (const std::size_t n : kCounts) {
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        auto x = half_numbers<T>(n, 1, -1.5, 1.5);
        put_specials(x);
        const auto dy = half_numbers<T>(n, 2);
        Array<T> y(n), dx(n), y_in_place = x, dx_in_place = dy;
        backend.map(dtype_of<T>, map, count_of(n), x.data(), y.data());
        backend.map(dtype_of<T>, map, count_of(n), y_in_place.data(), y_in_place.data());
        // x stands for y too, as the y of BF16 and of F64 differ.
        const void* const operand = slope_operand(map) == MapOperand::Nothing ? nullptr : x.data();
        backend.map_backward(dtype_of<T>, map, count_of(n), operand, dy.data(), dx.data());
        backend.map_backward(dtype_of<T>, map, count_of(n), operand, dx_in_place.data(), dx_in_place.data());
        CHECK(same_bits(y, y_in_place));
        CHECK(same_bits(dx, dx_in_place));
        return Written{{doubles(y), doubles(dx)}, {}};
      });
    }
  }
}

TEST_CASE("bf16: dropout") {
  for (const std::size_t n : kCounts) {
    for (const double keep : {0.0, 0.3, 1.0}) {
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        auto x = half_numbers<T>(n, 1);
        put_specials(x);
        Array<T> y(n), in_place = x;
        backend.dropout(dtype_of<T>, count_of(n), keep, 1 / 0.3, 5, 7, x.data(), y.data());
        backend.dropout(dtype_of<T>, count_of(n), keep, 1 / 0.3, 5, 7, in_place.data(), in_place.data());
        CHECK(same_bits(y, in_place));
        return Written{{doubles(y)}, {}};
      });
    }
  }
}

TEST_CASE("bf16: axpy") {
  for (const std::size_t n : kCounts) {
    check_rounded_once([&](Backend& backend, auto zero) {
      using T = decltype(zero);
      const auto x = half_numbers<T>(n, 1);
      auto y = half_numbers<T>(n, 2);
      put_specials(y);
      backend.axpy(dtype_of<T>, count_of(n), 0.3, x.data(), y.data());
      return Written{{doubles(y)}, {}};
    });
  }
}

TEST_CASE("bf16: element-wise sums, products and maxima") {
  const double coeff[] = {0.3, -0.7, 1.1};
  for (const EltwiseOp op : {EltwiseOp::Sum, EltwiseOp::Product, EltwiseOp::Max}) {
    for (const int inputs : {1, 2, 3}) {
      for (const Activation& activation : {Activation{}, Activation{true, 0}, Activation{true, 0.1}}) {
        for (const std::size_t n : kCounts) {
          check_rounded_once([&](Backend& backend, auto zero) {
            using T = decltype(zero);
            std::vector<Array<T>> x;
            for (unsigned seed = 1; seed <= 3; ++seed) x.push_back(half_numbers<T>(n, seed, -2, 2));
            // Some of the maxima are those of several.
            for (std::size_t i = 1; i < n; i += 2) x[0][i] = x[1][i];
            put_specials(x[0]);
            const auto dy = half_numbers<T>(n, 4);
            const void* pointers[] = {x[0].data(), x[1].data(), x[2].data()};
            Array<T> y(n), y_in_place = x[static_cast<std::size_t>(inputs - 1)];
            backend.eltwise(dtype_of<T>, op, count_of(n), inputs, pointers, coeff, activation, y.data());
            Written written{{doubles(y)}, {}};
            for (int input = 0; input < inputs; ++input) {
              Array<T> dx(n), in_place = dy;
              const auto backward = [&](const void* from, void* to) {
                backend.eltwise_backward(dtype_of<T>, op, count_of(n), inputs, pointers, coeff, input, from, to);
              };
              backward(dy.data(), dx.data());
              backward(in_place.data(), in_place.data());
              CHECK(same_bits(dx, in_place));
              written.blobs.push_back(doubles(dx));
            }
            pointers[inputs - 1] = y_in_place.data();
            backend.eltwise(dtype_of<T>, op, count_of(n), inputs, pointers, coeff, activation, y_in_place.data());
            CHECK(same_bits(y, y_in_place));
            return written;
          });
        }
      }
    }
  }
}

/// By which channels are added up in every way: a thread for each, threads for parts of them, blocks, several blocks.
const std::vector<ChannelShape> kChannelShapes = {
    {0, 5, 7}, {1, 7, 1}, {40, 33, 1}, {300, 3, 1}, {40, 4, 9}, {3, 5, 67}, {5, 3, 2101}};

std::size_t size_of(const ChannelShape& s) {
  return static_cast<std::size_t>(s.outer * s.channels * s.inner);
}

TEST_CASE("bf16: scale and bias of channels") {
  for (const ChannelShape& shape : kChannelShapes) {
    for (int given = 0; given < 32; ++given) {
      const bool has_scale = given & 1, has_bias = given & 2, learns = given & 4, adds = given & 8,
                 special = given & 16;
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        using P = Beside<T>;
        const std::size_t n = size_of(shape), channels = static_cast<std::size_t>(shape.channels);
        auto x = half_numbers<T>(n, 1);
        if (special) put_specials(x);
        const auto dy = half_numbers<T>(n, 2);
        const auto scale = float_numbers<P>(channels, 3, 0.5, 2), bias = float_numbers<P>(channels, 4);
        auto dscale = float_numbers<P>(channels, 5), dbias = float_numbers<P>(channels, 6);
        Array<T> y(n), dx(n), y_in_place = x, dx_in_place = dy;
        const auto plan = backend.channels(dtype_of<T>, shape);
        const void* const factor = has_scale ? scale.data() : nullptr;
        const void* const added = has_bias ? bias.data() : nullptr;
        plan->affine(x.data(), factor, added, y.data());
        plan->affine(y_in_place.data(), factor, added, y_in_place.data());
        CHECK(same_bits(y, y_in_place));

        Scratch scratch(plan->scratch_bytes());
        ChannelGradients gradients{x.data(), factor, dy.data(), dx.data(), nullptr, nullptr, adds, adds};
        gradients.dfactor = learns && has_scale ? dscale.data() : nullptr;
        gradients.dbias = learns && has_bias ? dbias.data() : nullptr;
        plan->affine_backward(gradients, scratch.get());
        const Written written{{doubles(y), doubles(dx)}, {doubles(dscale), doubles(dbias)}};
        gradients.dy = gradients.dx = dx_in_place.data();
        plan->affine_backward(gradients, scratch.get());
        CHECK(same_bits(dx, dx_in_place));
        return written;
      });
    }
  }
}

TEST_CASE("bf16: PReLU") {
  for (const ChannelShape& shape : kChannelShapes) {
    for (int given = 0; given < 8; ++given) {
      const bool learns = given & 1, adds = given & 2, special = given & 4;
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        using P = Beside<T>;
        const std::size_t n = size_of(shape), channels = static_cast<std::size_t>(shape.channels);
        auto x = half_numbers<T>(n, 1);
        if (special) put_specials(x);
        const auto dy = half_numbers<T>(n, 2);
        const auto slope = float_numbers<P>(channels, 3);
        auto dslope = float_numbers<P>(channels, 4);
        Array<T> y(n), dx(n), y_in_place = x, dx_in_place = dy;
        const auto plan = backend.channels(dtype_of<T>, shape);
        plan->prelu(x.data(), slope.data(), y.data());
        plan->prelu(y_in_place.data(), slope.data(), y_in_place.data());
        CHECK(same_bits(y, y_in_place));

        Scratch scratch(plan->scratch_bytes());
        ChannelGradients gradients{x.data(), slope.data(), dy.data(), dx.data(), nullptr, nullptr, adds, false};
        gradients.dfactor = learns ? dslope.data() : nullptr;
        plan->prelu_backward(gradients, scratch.get());
        const Written written{{doubles(y), doubles(dx)}, {doubles(dslope)}};
        gradients.dy = gradients.dx = dx_in_place.data();
        plan->prelu_backward(gradients, scratch.get());
        CHECK(same_bits(dx, dx_in_place));
        return written;
      });
    }
  }
}

TEST_CASE("bf16: batch normalisation") {
  for (const ChannelShape& shape : kChannelShapes) {
    for (const bool special : {false, true}) {
      for (const bool seen_any : {false, true}) {
        check_rounded_once([&](Backend& backend, auto zero) {
          using T = decltype(zero);
          using P = Beside<T>;
          const std::size_t n = size_of(shape), channels = static_cast<std::size_t>(shape.channels);
          // Far enough from 0 that sums of squares in F32 would show.
          auto x = half_numbers<T>(n, 1, 2, 4);
          if (special && n > 0) x[0] = static_cast<T>(kNan), x[n - 1] = static_cast<T>(kInf);
          // Any y will do: the y of BF16 and of F64 differ.
          const auto y_kept = half_numbers<T>(n, 2, -2, 2), dy = half_numbers<T>(n, 3);
          auto mean = float_numbers<P>(channels, 4, 2, 4), variance = float_numbers<P>(channels, 5, 0.5, 2);
          auto factor = float_numbers<P>(1, 6, 0.5, 2);
          if (!seen_any) factor[0] = P(0);
          const RunningMoments running{mean.data(), variance.data(), factor.data()};
          const auto plan = backend.batch_norm(dtype_of<T>, shape, 1e-5);
          Scratch state(plan->state_bytes());
          Array<T> y(n), dx(n), y_in_place = x, dx_in_place = dy;
          Written written;

          plan->forward_by_running(x.data(), running, y.data(), state.get());
          plan->backward_by_running(state.get(), dy.data(), dx.data());
          plan->forward_by_running(y_in_place.data(), running, y_in_place.data(), state.get());
          plan->backward_by_running(state.get(), dx_in_place.data(), dx_in_place.data());
          CHECK(same_bits(y, y_in_place));
          CHECK(same_bits(dx, dx_in_place));
          written.blobs = {doubles(y), doubles(dx)};

          plan->forward(x.data(), 0.9, running, y.data(), state.get());
          written.beside = {doubles(mean), doubles(variance), doubles(factor)};
          plan->backward(y_kept.data(), state.get(), dy.data(), dx.data());
          y_in_place = x, dx_in_place = dy;
          plan->forward(y_in_place.data(), 0.9, running, y_in_place.data(), state.get());
          plan->backward(y_kept.data(), state.get(), dx_in_place.data(), dx_in_place.data());
          CHECK(same_bits(y, y_in_place));
          CHECK(same_bits(dx, dx_in_place));
          written.blobs.insert(written.blobs.end(), {doubles(y), doubles(dx)});
          return written;
        });
      }
    }
  }
}

TEST_CASE("bf16: batch normalisation with scale, bias and activation") {
  for (const ChannelShape& shape : kChannelShapes) {
    for (int given = 0; given < 16; ++given) {
      const bool by_running = given & 1, has_bias = given & 2, special = given & 4, relu = given & 8;
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        using P = Beside<T>;
        const std::size_t n = size_of(shape), channels = static_cast<std::size_t>(shape.channels);
        auto x = half_numbers<T>(n, 1, 2, 4);
        if (special && n > 0) x[0] = static_cast<T>(kNan), x[n - 1] = static_cast<T>(kInf);
        const auto dy = half_numbers<T>(n, 2);
        const auto scale = float_numbers<P>(channels, 3, 0.5, 2), bias = float_numbers<P>(channels, 4);
        auto dscale = float_numbers<P>(channels, 5), dbias = float_numbers<P>(channels, 6);
        auto mean = float_numbers<P>(channels, 7, 2, 4), variance = float_numbers<P>(channels, 8, 0.5, 2);
        auto factor = float_numbers<P>(1, 9, 0.5, 2);
        const RunningMoments running{mean.data(), variance.data(), factor.data()};
        const P* const added = has_bias ? bias.data() : nullptr;
        const auto plan = backend.scaled_batch_norm(dtype_of<T>, shape, 1e-5, {relu, 0.25});
        Scratch state(plan->state_bytes()), scratch(plan->scratch_bytes());
        Array<T> y(n), again(n), dx(n);
        const ScaledBatchNormGradients args{
            x.data(),
            y.data(),
            scale.data(),
            dy.data(),
            dx.data(),
            dscale.data(),
            has_bias ? dbias.data() : nullptr,
            has_bias};
        if (by_running) {
          plan->forward_by_running(x.data(), running, scale.data(), added, y.data(), state.get());
          plan->backward_by_running(args, state.get(), scratch.get());
        } else {
          plan->forward(x.data(), 0.9, running, scale.data(), added, y.data(), state.get());
          plan->backward(args, state.get(), scratch.get());
        }
        plan->recompute(x.data(), scale.data(), added, again.data(), state.get());
        CHECK(same_bits(again, y));
        if (!special)
          for (const P gradient : {dscale[0], dbias[0]}) CHECK(std::isfinite(static_cast<double>(gradient)));
        return Written{
            {doubles(y), doubles(dx)},
            {doubles(dscale), doubles(dbias), doubles(mean), doubles(variance), doubles(factor)}};
      });
    }
  }
}

PoolingShape pooling_shape(
    Index batch, Index channels, Index height, Index width, Index kernel, Index stride, Index pad) {
  const auto out = [&](Index size) {
    const Index last = (size + 2 * pad - kernel + stride - 1) / stride;
    return last * stride < size + pad ? last + 1 : last;
  };
  return {batch, channels, height, width, out(height), out(width), kernel, kernel, stride, stride, pad, pad};
}

std::vector<PoolingShape> pooling_shapes(Index pad) {
  return {
      pooling_shape(0, 3, 7, 5, 3, 2, pad),
      pooling_shape(2, 3, 7, 5, 3, 2, pad),
      pooling_shape(2, 3, 8, 9, 3, 1, pad),
      // Places that BF16 does not hold.
      pooling_shape(1, 2, 31, 29, 2, 3, pad),
      // Winners that a byte does not hold.
      pooling_shape(1, 2, 33, 32, 17, 5, pad)};
}

TEST_CASE("bf16: pooling") {
  std::vector<PoolingShape> shapes = pooling_shapes(1);
  // Windows of nothing but padding.
  shapes.push_back(pooling_shape(1, 2, 6, 7, 2, 3, 2));
  for (const PoolMethod method : {PoolMethod::Max, PoolMethod::Average}) {
    for (const PoolingShape& s : shapes) {
      for (const bool special : {false, true}) {
        check_rounded_once([&](Backend& backend, auto zero) {
          using T = decltype(zero);
          const auto planes = static_cast<std::size_t>(s.batch * s.channels);
          const std::size_t pixels = planes * static_cast<std::size_t>(s.height * s.width);
          const std::size_t outputs = planes * static_cast<std::size_t>(s.out_h * s.out_w);
          auto x = half_numbers<T>(pixels, 1);
          if (special) put_specials(x);
          const auto dy = half_numbers<T>(outputs, 2);
          const auto plan = backend.pooling(dtype_of<T>, s, method);
          Array<T> y(outputs), y_alone(outputs), dx(pixels);
          Scratch mask(plan->mask_bytes());
          plan->forward(x.data(), y_alone.data(), nullptr);
          plan->forward(x.data(), y.data(), mask.get());
          plan->backward(dy.data(), mask.get(), dx.data());
          CHECK(same_bits(y, y_alone));
          Written written{{doubles(y), doubles(dx)}, {}};
          if (method == PoolMethod::Max) {
            Array<Beside<T>> places(outputs);
            plan->places(mask.get(), places.data());
            written.beside.push_back(doubles(places));
          }
          return written;
        });
      }
    }
  }
}

TEST_CASE("bf16: stochastic pooling") {
  for (const PoolingShape& s : pooling_shapes(0)) {
    for (const bool special : {false, true}) {
      check_rounded_once([&](Backend& backend, auto zero) {
        using T = decltype(zero);
        const auto planes = static_cast<std::size_t>(s.batch * s.channels);
        const std::size_t pixels = planes * static_cast<std::size_t>(s.height * s.width);
        const std::size_t outputs = planes * static_cast<std::size_t>(s.out_h * s.out_w);
        auto x = half_numbers<T>(pixels, 1, 0, 1);
        if (special && pixels > 0) x[0] = static_cast<T>(kNan);
        const auto dy = half_numbers<T>(outputs, 2);
        const auto plan = backend.pooling(dtype_of<T>, s, PoolMethod::Stochastic);
        Array<T> mean(outputs), y(outputs), dx(pixels);
        Array<Beside<T>> places(outputs);
        Scratch mask(plan->mask_bytes());
        plan->forward(x.data(), mean.data(), nullptr);
        plan->forward_random(x.data(), y.data(), mask.get(), {5, 7, 3});
        plan->backward(dy.data(), mask.get(), dx.data());
        plan->places(mask.get(), places.data());
        return Written{{doubles(mean), doubles(y), doubles(dx)}, {doubles(places)}};
      });
    }
  }
}

TEST_CASE("bf16: LRN") {
  std::vector<LrnShape> shapes = {{2, 19, 5, 3, 5, 1.3, 0.75, 1}, {0, 3, 5, 7, 3, 1, 0.75, 1}};
  for (const double beta : {0.75, 0.5, 1.0, 0.6}) shapes.push_back({3, 4, 7, 5, 3, 1.3, beta, 1.7});
  for (LrnShape s : shapes) {
    for (const LrnRegion region : {LrnRegion::AcrossChannels, LrnRegion::WithinChannel}) {
      for (const bool special : {false, true}) {
        s.region = region;
        check_rounded_once([&](Backend& backend, auto zero) {
          using T = decltype(zero);
          const auto n = static_cast<std::size_t>(s.batch * s.channels * s.height * s.width);
          auto x = half_numbers<T>(n, 1, -2, 2);
          if (special) put_specials(x);
          // Any y will do: the y of BF16 and of F64 differ.
          const auto y_kept = half_numbers<T>(n, 2), dy = half_numbers<T>(n, 3);
          const auto plan = backend.lrn(dtype_of<T>, s);
          Array<T> y(n), dx(n);
          Array<Beside<T>> state(n);
          REQUIRE(plan->state_bytes() == n * sizeof(Beside<T>));
          plan->forward(x.data(), y.data(), state.data());
          plan->backward(x.data(), y_kept.data(), state.data(), dy.data(), dx.data());
          return Written{{doubles(y), doubles(dx)}, {doubles(state)}};
        });
      }
    }
  }
}

Box box_of(const std::vector<Index>& size, const std::vector<Index>& from, const std::vector<Index>& to) {
  Box box;
  for (std::size_t d = 0; d < size.size(); ++d) box.add(size[d], from[d], to[d]);
  return box;
}

TEST_CASE("bf16: boxes are copied, filled and added up") {
  check_rounded_once([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    auto x = half_numbers<T>(3 * 401 * 5, 1, 0, 1);
    Array<T> turned(x.size(), static_cast<T>(7)), filled = turned, narrow(15, static_cast<T>(7)), wide(3 * 401);
    const Box sums_of_5 = box_of({3 * 401, 5}, {5, 1}, {1, 0}),
              sums_of_401 = box_of({3, 401, 5}, {2005, 5, 1}, {5, 0, 1});
    backend.sum_box(dtype_of<T>, sums_of_401, x.data(), narrow.data());
    backend.sum_box(dtype_of<T>, sums_of_5, x.data(), wide.data());
    put_specials(x);
    backend.copy_box(dtype_of<T>, box_of({3, 401, 5}, {2005, 5, 1}, {1, 15, 3}), x.data(), turned.data());
    backend.fill_box(dtype_of<T>, box_of({3, 5}, {0, 0}, {17, 3}), 0.3, filled.data());
    backend.copy_box(dtype_of<T>, box_of({3, 0}, {1, 1}, {1, 1}), x.data(), filled.data());
    return Written{{doubles(turned), doubles(filled), doubles(narrow), doubles(wide)}, {}};
  });
}

TEST_CASE("bf16: columns of windows and their gradient") {
  WindowShape shape{2, 3, 2, {7, 5}, {3, 3}, {2, 1}, {1, 1}, {1, 1}};
  check_rounded_once([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const auto pixels = static_cast<std::size_t>(shape.batch * shape.channels * shape.pixels());
    const auto columns = static_cast<std::size_t>(shape.batch * shape.channels * shape.taps() * shape.positions());
    auto x = half_numbers<T>(pixels, 1);
    put_specials(x);
    const auto gradient = half_numbers<T>(columns, 2);
    Array<T> unrolled(columns), dx(pixels);
    backend.im2col(dtype_of<T>, shape, x.data(), unrolled.data());
    backend.col2im(dtype_of<T>, shape, gradient.data(), dx.data());
    return Written{{doubles(unrolled), doubles(dx)}, {}};
  });
}

TEST_CASE("bf16: rows are gathered and scattered") {
  check_rounded_once([&](Backend& backend, auto zero) {
    using T = decltype(zero);
    const auto x = half_numbers<T>(6 * 7, 1);
    Array<Index> places(6);
    for (std::size_t i = 0; i < 6; ++i) places[i] = i == 4 ? -1 : static_cast<Index>(i % 2);
    Array<T> gathered(6 * 7), scattered(3 * 7);
    backend.gather_rows(dtype_of<T>, 6, 7, places.data(), x.data(), 0.3, gathered.data());
    backend.scatter_rows(dtype_of<T>, 6, 7, places.data(), x.data(), 3, scattered.data());
    return Written{{doubles(gathered), doubles(scattered)}, {}};
  });
}

TEST_CASE("bf16: batches of bytes become numbers") {
  for (const bool placed : {false, true}) {
    check_rounded_once([&](Backend& backend, auto zero) {
      using T = decltype(zero);
      const auto mean = random_array<float>(3 * 9 * 8, 1, 0, 255);
      std::vector<Beside<T>> host_mean(mean.data(), mean.data() + mean.size());
      const ByteBatch batch{
          dtype_of<T>,
          3,
          3,
          placed ? 7 : 9,
          placed ? 5 : 8,
          1 / 255.0,
          host_mean.data(),
          static_cast<Index>(host_mean.size()),
          {72, 8, 1},
          placed};
      const auto n = static_cast<std::size_t>(batch.count());
      const auto upload = backend.upload(batch);
      std::fill(host_mean.begin(), host_mean.end(), Beside<T>(0));
      Array<T> y(n, static_cast<T>(7)), vetoed = y;
      Array<Index> veto(1, -1);
      const auto send = [&](Array<T>& to) {
        auto* const bytes = static_cast<std::uint8_t*>(upload->buffer());
        for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(i * 89);
        const std::int32_t placements[] = {0, 3, 0, 2, 1, 1, 1, 0, 0};
        if (placed) std::memcpy(bytes + batch.placements_at(), placements, sizeof placements);
        upload->send(to.data(), veto.data());
        backend.wait();
      };
      send(y);
      veto[0] = 2;
      send(vetoed);
      return Written{{doubles(y), doubles(vetoed)}, {}};
    });
  }
}

TEST_CASE("bf16: what is not done in it says so") {
  const auto backend = test::make_gpu_backend();
  Array<Half> x(4), y(4);
  Array<double> total(1);
  CHECK_THROWS_AS(backend->softmax(DType::BF16, {2, 2}, x.data(), y.data()), std::logic_error);
  CHECK_THROWS_AS(backend->layer_norm(DType::BF16, {2, 2}), std::logic_error);
  CHECK_THROWS_AS(backend->add_sum(DType::BF16, 4, 1, x.data(), total.data()), std::logic_error);
  CHECK_THROWS_AS(backend->reduce(DType::BF16, ReduceOp::Sum, 2, 2, 1, x.data(), y.data()), std::logic_error);
  CHECK_THROWS_AS(backend->gate_rows(DType::BF16, 2, 2, x.data(), x.data(), y.data()), std::logic_error);
  CHECK_THROWS_AS(backend->update(DType::BF16, {}), std::logic_error);
}

}  // namespace
}  // namespace sparknet::kernels
