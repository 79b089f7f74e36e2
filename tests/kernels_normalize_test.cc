#include <string>
#include <utility>

#include "tests/kernels_test.h"

namespace sparknet::kernels {
namespace {

/// Channels wide and narrow, few and many, and enough elements for all threads.
const std::vector<ChannelShape> kChannelShapes = {
    {2, 3, 5},
    {40, 300, 4},
    {7, 67, 1},
    {3, 40, 33},
    {2, 2, 20001},
    {1, 1, 40001},
    {20001, 3, 1},
    {300, 200, 1},
    {1, 50000, 1},
    {1, 1, 1}};

std::string to_string(const ChannelShape& s) {
  return std::to_string(s.outer) + " x " + std::to_string(s.channels) + " x " + std::to_string(s.inner);
}

std::size_t count_of(const ChannelShape& s) {
  return static_cast<std::size_t>(s.outer * s.channels * s.inner);
}
std::size_t channel_of(const ChannelShape& s, std::size_t i) {
  return i / static_cast<std::size_t>(s.inner) % static_cast<std::size_t>(s.channels);
}

template <class T>
double number(const Array<T>& array, std::size_t i) {
  return static_cast<double>(array[i]);
}

TEST_CASE("scale and bias of channels") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const ChannelShape& s : kChannelShapes) {
      CAPTURE(to_string(s));
      const std::size_t n = count_of(s), channels = static_cast<std::size_t>(s.channels);
      const auto plan = backend.channels(dtype_of<T>, s);
      const auto x = random_array<T>(n, 1), dy = random_array<T>(n, 2);
      const auto scale = random_array<T>(channels, 3, -2, 2), bias = random_array<T>(channels, 4);
      const auto before = random_array<T>(channels, 5);
      for (const bool scales : {false, true}) {
        std::vector<double> y(n), plain(n), dx(n), dscale(channels), dbias(channels), added(channels);
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t c = channel_of(s, i);
          const double factor = scales ? number(scale, c) : 1;
          plain[i] = factor * number(x, i);
          y[i] = plain[i] + number(bias, c);
          dx[i] = factor * number(dy, i);
          dscale[c] += number(dy, i) * number(x, i);
          dbias[c] += number(dy, i);
        }
        for (std::size_t c = 0; c < channels; ++c) added[c] = number(before, c) + dscale[c];
        Array<T> out(n), unbiased(n), in_place = x;
        const T* const factor = scales ? scale.data() : nullptr;
        plan->affine(x.data(), factor, bias.data(), out.data());
        plan->affine(in_place.data(), factor, bias.data(), in_place.data());
        CHECK(difference(out, y) < tolerance<T>(2));
        CHECK(same_bits(out, in_place));
        if (scales) {
          plan->affine(x.data(), factor, nullptr, unbiased.data());
          CHECK(difference(unbiased, plain) < tolerance<T>(1));
        }

        const double terms = static_cast<double>(s.outer * s.inner);
        Scratch scratch(plan->scratch_bytes());
        Array<T> gradient(n, T(7)), of_scale = before, of_bias = before;
        plan->affine_backward(
            {x.data(), factor, dy.data(), gradient.data(), of_scale.data(), of_bias.data(), true, false},
            scratch.get());
        CHECK(difference(gradient, dx) < tolerance<T>(1));
        CHECK(difference(of_scale, added) < tolerance<T>(terms));
        CHECK(difference(of_bias, dbias) < tolerance<T>(terms));

        Array<T> again(n), bias_again = before, gradient_in_place = dy;
        Scratch other(plan->scratch_bytes());
        plan->affine_backward(
            {nullptr,
             factor,
             gradient_in_place.data(),
             gradient_in_place.data(),
             nullptr,
             bias_again.data(),
             true,
             false},
            other.get());
        CHECK(same_bits(gradient_in_place, gradient));
        CHECK(same_bits(bias_again, of_bias));
        Array<T> scale_again = before;
        plan->affine_backward(
            {x.data(), factor, dy.data(), nullptr, scale_again.data(), nullptr, true, false},
            scratch.get());
        CHECK(difference(scale_again, added) < tolerance<T>(terms));
      }
    }
  });
}

TEST_CASE("slopes of channels") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const ChannelShape& s : kChannelShapes) {
      CAPTURE(to_string(s));
      const std::size_t n = count_of(s), channels = static_cast<std::size_t>(s.channels);
      const auto plan = backend.channels(dtype_of<T>, s);
      auto x = random_array<T>(n, 1);
      for (std::size_t i = 0; i < n; i += 5) x[i] = T(0);
      for (std::size_t i = 7; i < n; i += 1000) x[i] = static_cast<T>(INFINITY);
      const auto dy = random_array<T>(n, 2), slope = random_array<T>(channels, 3),
                 before = random_array<T>(channels, 5);
      std::vector<double> y(n), dx(n), dslope(channels), added(channels);
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t c = channel_of(s, i);
        const bool on = number(x, i) > 0;
        y[i] = on ? number(x, i) : number(slope, c) * number(x, i);
        dx[i] = on ? number(dy, i) : number(slope, c) * number(dy, i);
        if (!on) dslope[c] += number(dy, i) * number(x, i);
      }
      for (std::size_t c = 0; c < channels; ++c) added[c] = number(before, c) + dslope[c];
      Array<T> out(n), in_place = x;
      plan->prelu(x.data(), slope.data(), out.data());
      plan->prelu(in_place.data(), slope.data(), in_place.data());
      CHECK(difference(out, y) < tolerance<T>(1));
      CHECK(same_bits(out, in_place));
      const double terms = static_cast<double>(s.outer * s.inner);
      for (const bool accumulate : {false, true}) {
        Scratch scratch(plan->scratch_bytes());
        Array<T> gradient(n, T(7)), gradient_in_place = dy, of_slope = before, slope_again = before;
        plan->prelu_backward(
            {x.data(), slope.data(), dy.data(), gradient.data(), of_slope.data(), nullptr, accumulate, false},
            scratch.get());
        CHECK(difference(gradient, dx) < tolerance<T>(1));
        CHECK(difference(of_slope, accumulate ? added : dslope) < tolerance<T>(terms));
        plan->prelu_backward(
            {x.data(), slope.data(), dy.data(), nullptr, slope_again.data(), nullptr, accumulate, false},
            scratch.get());
        CHECK(difference(slope_again, accumulate ? added : dslope) < tolerance<T>(terms));
        T* const both = gradient_in_place.data();
        plan->prelu_backward({x.data(), slope.data(), both, both, nullptr, nullptr, false, false}, scratch.get());
        CHECK(same_bits(gradient_in_place, gradient));
      }
    }
  });
}

TEST_CASE("batch normalisation") {
  constexpr double eps = 1e-3, fade = 0.75;
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const ChannelShape& s : kChannelShapes) {
      CAPTURE(to_string(s));
      const std::size_t n = count_of(s), channels = static_cast<std::size_t>(s.channels);
      const double numbers = static_cast<double>(s.outer * s.inner);
      const auto plan = backend.batch_norm(dtype_of<T>, s, eps);
      const auto x = random_array<T>(n, 1, 1, 4), dy = random_array<T>(n, 2);
      const auto mean_before = random_array<T>(channels, 3), variance_before = random_array<T>(channels, 4, 0.5, 2);
      const Array<T> factor_before(1, T(1.5));

      std::vector<double> mean(channels), variance(channels), sum(channels), product(channels), y(n), dx(n);
      for (std::size_t i = 0; i < n; ++i) mean[channel_of(s, i)] += number(x, i) / numbers;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t c = channel_of(s, i);
        variance[c] += (number(x, i) - mean[c]) * (number(x, i) - mean[c]) / numbers;
      }
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t c = channel_of(s, i);
        y[i] = (number(x, i) - mean[c]) / std::sqrt(variance[c] + eps);
        sum[c] += number(dy, i) / numbers;
        product[c] += number(dy, i) * y[i] / numbers;
      }
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t c = channel_of(s, i);
        dx[i] = (number(dy, i) - sum[c] - product[c] * y[i]) / std::sqrt(variance[c] + eps);
      }
      std::vector<double> mean_after(channels), variance_after(channels);
      for (std::size_t c = 0; c < channels; ++c) {
        mean_after[c] = fade * number(mean_before, c) + mean[c];
        variance_after[c] =
            fade * number(variance_before, c) + variance[c] * (numbers > 1 ? numbers / (numbers - 1) : 1);
      }

      Array<T> means = mean_before, variances = variance_before, factor = factor_before, out(n), gradient(n, T(7));
      Scratch state(plan->state_bytes());
      plan->forward(x.data(), fade, {means.data(), variances.data(), factor.data()}, out.data(), state.get());
      plan->backward(out.data(), state.get(), dy.data(), gradient.data());
      CHECK(difference(out, y) < tolerance<T>(100));
      CHECK(difference(gradient, dx) < tolerance<T>(100));
      CHECK(difference(means, mean_after) < tolerance<T>(1));
      CHECK(difference(variances, variance_after) < tolerance<T>(1));
      CHECK(number(factor, 0) == fade * 1.5 + 1);

      Array<T> in_place = x, gradient_in_place = dy, spare1 = mean_before, spare2 = variance_before,
               spare3 = factor_before;
      Scratch other(plan->state_bytes());
      plan->forward(in_place.data(), fade, {spare1.data(), spare2.data(), spare3.data()}, in_place.data(), other.get());
      plan->backward(in_place.data(), other.get(), gradient_in_place.data(), gradient_in_place.data());
      CHECK(same_bits(in_place, out));
      CHECK(same_bits(gradient_in_place, gradient));
      CHECK(same_bits(spare1, means));
      CHECK(same_bits(spare2, variances));

      for (const double divisor : {2.0, 0.0}) {
        Array<T> global_means = mean_before, global_variances = variance_before, count(1, static_cast<T>(divisor));
        const double part = divisor == 0 ? 0 : 1 / divisor;
        std::vector<double> global_y(n), global_dx(n);
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t c = channel_of(s, i);
          const double deviation = std::sqrt(number(variance_before, c) * part + eps);
          global_y[i] = (number(x, i) - number(mean_before, c) * part) / deviation;
          global_dx[i] = number(dy, i) / deviation;
        }
        const RunningMoments running{global_means.data(), global_variances.data(), count.data()};
        Array<T> global_out(n), global_gradient(n), global_in_place = x;
        plan->forward_by_running(x.data(), running, global_out.data(), state.get());
        plan->backward_by_running(state.get(), dy.data(), global_gradient.data());
        plan->forward_by_running(global_in_place.data(), running, global_in_place.data(), other.get());
        CHECK(difference(global_out, global_y) < tolerance<T>(10));
        CHECK(difference(global_gradient, global_dx) < tolerance<T>(10));
        CHECK(same_bits(global_in_place, global_out));
        CHECK(same_bits(global_means, mean_before));
        CHECK(same_bits(global_variances, variance_before));
      }
    }
  });
}

TEST_CASE("batch normalisation with scale, bias and activation") {
  constexpr double eps = 1e-3, fade = 0.75;
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const ChannelShape& s : kChannelShapes) {
      if (!backend.scales_batch_norm(s)) continue;
      CAPTURE(to_string(s));
      const std::size_t n = count_of(s), channels = static_cast<std::size_t>(s.channels);
      const double numbers = static_cast<double>(s.outer * s.inner);
      const auto x = random_array<T>(n, 1, 1, 4), dy = random_array<T>(n, 2);
      const auto scale = random_array<T>(channels, 5, -2, 2), bias = random_array<T>(channels, 6);
      const auto old_scale = random_array<T>(channels, 7), old_bias = random_array<T>(channels, 8);
      const auto mean_before = random_array<T>(channels, 3), variance_before = random_array<T>(channels, 4, 0.5, 2);
      for (const bool by_running : {false, true}) {
        for (const Activation& activation : {Activation{}, Activation{true, 0}, Activation{true, 0.25}}) {
          for (const bool has_bias : {false, true}) {
            const bool accumulate = has_bias;
            std::vector<double> mean(channels), factor(channels), sum(channels), product(channels);
            std::vector<double> y(n), h(n), top(n), dx(n), dscale(channels), dbias(channels);
            for (std::size_t i = 0; i < n; ++i) mean[channel_of(s, i)] += number(x, i) / numbers;
            for (std::size_t i = 0; i < n; ++i) {
              const std::size_t c = channel_of(s, i);
              factor[c] += (number(x, i) - mean[c]) * (number(x, i) - mean[c]) / numbers;
            }
            for (std::size_t c = 0; c < channels; ++c) {
              if (by_running) mean[c] = number(mean_before, c) / 2, factor[c] = number(variance_before, c) / 2;
              factor[c] = 1 / std::sqrt(factor[c] + eps);
            }
            for (std::size_t i = 0; i < n; ++i) {
              const std::size_t c = channel_of(s, i);
              h[i] = (number(x, i) - mean[c]) * factor[c];
              const double z = number(scale, c) * h[i] + (has_bias ? number(bias, c) : 0);
              const double slope = activation.relu && z <= 0 ? activation.negative_slope : 1;
              y[i] = slope * z;
              top[i] = slope * number(dy, i);
              sum[c] += top[i];
              product[c] += top[i] * h[i];
            }
            for (std::size_t i = 0; i < n; ++i) {
              const std::size_t c = channel_of(s, i);
              const double rest = by_running ? 0 : (sum[c] + h[i] * product[c]) / numbers;
              dx[i] = factor[c] * number(scale, c) * (top[i] - rest);
            }
            for (std::size_t c = 0; c < channels; ++c) {
              dscale[c] = product[c] + (accumulate ? number(old_scale, c) : 0);
              dbias[c] = sum[c] + (accumulate ? number(old_bias, c) : 0);
            }

            const auto plan = backend.scaled_batch_norm(dtype_of<T>, s, eps, activation);
            Array<T> means = mean_before, variances = variance_before, count(1, T(2)), out(n), again(n);
            const RunningMoments running{means.data(), variances.data(), count.data()};
            const T* const added = has_bias ? bias.data() : nullptr;
            Scratch state(plan->state_bytes()), scratch(plan->scratch_bytes());
            if (by_running)
              plan->forward_by_running(x.data(), running, scale.data(), added, out.data(), state.get());
            else
              plan->forward(x.data(), fade, running, scale.data(), added, out.data(), state.get());
            CHECK(difference(out, y) < tolerance<T>(100));
            CHECK(same_bits(means, mean_before) == by_running);
            CHECK(same_bits(variances, variance_before) == by_running);
            CHECK(number(count, 0) == (by_running ? 2 : fade * 2 + 1));
            if (!by_running) {
              const auto alone = backend.batch_norm(dtype_of<T>, s, eps);
              Array<T> of_means = mean_before, of_variances = variance_before, of_count(1, T(2)), spare(n);
              Scratch own(alone->state_bytes());
              alone->forward(
                  x.data(),
                  fade,
                  {of_means.data(), of_variances.data(), of_count.data()},
                  spare.data(),
                  own.get());
              CHECK(same_bits(means, of_means));
              CHECK(same_bits(variances, of_variances));
            }
            plan->recompute(x.data(), scale.data(), added, again.data(), state.get());
            CHECK(same_bits(again, out));

            for (const bool wants_dx : {true, false}) {
              for (const bool learns : {true, false}) {
                Array<T> gradient(n, T(7)), of_scale = old_scale, of_bias = old_bias;
                const ScaledBatchNormGradients args{
                    x.data(),
                    out.data(),
                    scale.data(),
                    dy.data(),
                    wants_dx ? gradient.data() : nullptr,
                    learns ? of_scale.data() : nullptr,
                    learns && has_bias ? of_bias.data() : nullptr,
                    accumulate};
                if (by_running)
                  plan->backward_by_running(args, state.get(), scratch.get());
                else
                  plan->backward(args, state.get(), scratch.get());
                if (wants_dx) CHECK(difference(gradient, dx) < tolerance<T>(1000));
                if (learns) CHECK(difference(of_scale, dscale) < tolerance<T>(numbers));
                if (learns && has_bias) CHECK(difference(of_bias, dbias) < tolerance<T>(numbers));
                if (!learns) CHECK(same_bits(of_scale, old_scale));
                if (!learns || !has_bias) CHECK(same_bits(of_bias, old_bias));
              }
            }
          }
        }
      }
    }
  });
}

TEST_CASE("normalisation of rows") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    for (const auto& matrix : {std::pair<Index, Index>{3, 5}, {1, 1}, {7, 67}, {300, 129}, {4, 9001}}) {
      const Index rows = matrix.first, size = matrix.second;
      for (const NormDivisor divisor : {NormDivisor::One, NormDivisor::Variance, NormDivisor::Deviation}) {
        for (const bool affine : {false, true}) {
          if (affine && divisor != NormDivisor::Variance) continue;
          const LayerNormShape s{rows, size, divisor, 1e-2, affine};
          CAPTURE(rows);
          CAPTURE(size);
          CAPTURE(static_cast<int>(divisor));
          const auto n = static_cast<std::size_t>(rows * size), width = static_cast<std::size_t>(size);
          const auto plan = backend.layer_norm(dtype_of<T>, s);
          const auto x = random_array<T>(n, 1, 1, 4), dy = random_array<T>(n, 2);
          const auto gamma = random_array<T>(width, 3), beta = random_array<T>(width, 4),
                     before = random_array<T>(width, 5);

          std::vector<double> y(n), dx(n), dgamma(width), dbeta(width), added(width);
          for (std::size_t row = 0; row < n; row += width) {
            double mean = 0, variance = 0, sum = 0, product = 0;
            for (std::size_t i = row; i < row + width; ++i) mean += number(x, i) / static_cast<double>(size);
            for (std::size_t i = row; i < row + width; ++i)
              variance += (number(x, i) - mean) * (number(x, i) - mean) / static_cast<double>(size);
            const double by = divisor == NormDivisor::One        ? 1
                              : divisor == NormDivisor::Variance ? std::sqrt(variance + s.eps)
                                                                 : std::sqrt(variance) + s.eps;
            // The slope of the divisor along (x - mean) / n.
            const double growth = divisor == NormDivisor::One        ? 0
                                  : divisor == NormDivisor::Variance ? 1 / by
                                  : variance > 0                     ? 1 / std::sqrt(variance)
                                                                     : 0;
            for (std::size_t i = row; i < row + width; ++i) {
              const std::size_t j = i - row;
              const double h = (number(x, i) - mean) / by, top = number(dy, i),
                           g = affine ? top * number(gamma, j) : top;
              y[i] = affine ? h * number(gamma, j) + number(beta, j) : h;
              dgamma[j] += top * h;
              dbeta[j] += top;
              sum += g / static_cast<double>(size);
              product += g * (number(x, i) - mean) / (by * by) / static_cast<double>(size);
            }
            for (std::size_t i = row; i < row + width; ++i) {
              const double g = affine ? number(dy, i) * number(gamma, i - row) : number(dy, i);
              dx[i] = (g - sum) / by - product * growth * (number(x, i) - mean);
            }
          }
          for (std::size_t j = 0; j < width; ++j) added[j] = number(before, j) + dgamma[j];

          const T* const scale = affine ? gamma.data() : nullptr;
          const T* const shift = affine ? beta.data() : nullptr;
          Scratch state(plan->state_bytes()), scratch(plan->scratch_bytes());
          Array<T> out(n), in_place = x, gradient(n, T(7)), of_gamma = before, of_beta = before;
          plan->forward(in_place.data(), scale, shift, in_place.data(), state.get());
          plan->forward(x.data(), scale, shift, out.data(), state.get());
          CHECK(difference(out, y) < tolerance<T>(100));
          CHECK(same_bits(in_place, out));
          LayerNormGradients args{};
          args.operand = affine ? x.data() : out.data();
          args.gamma = scale;
          args.dy = dy.data();
          args.dx = gradient.data();
          args.dgamma = affine ? of_gamma.data() : nullptr;
          args.accumulate = true;
          plan->backward(args, state.get(), scratch.get());
          CHECK(difference(gradient, dx) < tolerance<T>(100));
          if (affine) {
            CHECK(difference(of_gamma, added) < tolerance<T>(static_cast<double>(rows)));
            args.dgamma = nullptr;
            args.dx = nullptr;
            args.dbeta = of_beta.data();
            args.accumulate = false;
            plan->backward(args, state.get(), scratch.get());
            CHECK(difference(of_beta, dbeta) < tolerance<T>(static_cast<double>(rows)));
          }
          Array<T> gradient_in_place = dy;
          args.dy = args.dx = gradient_in_place.data();
          args.dbeta = nullptr;
          plan->backward(args, state.get(), scratch.get());
          CHECK(same_bits(gradient_in_place, gradient));
        }
      }
    }
  });
}

TEST_CASE("moments far from 0 keep their digits") {
  on_every_backend([](Backend& backend, auto zero) {
    using T = decltype(zero);
    constexpr std::size_t n = 40000;
    const double far = sizeof(T) == 4 ? 1e4 : 1e9;
    Array<T> x(n), y(n), mean(1), variance(1), factor(1);
    for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<T>(far + static_cast<double>(i % 5));
    const auto plan = backend.batch_norm(dtype_of<T>, {4, 1, n / 4}, 0);
    Scratch state(plan->state_bytes());
    plan->forward(x.data(), 0, {mean.data(), variance.data(), factor.data()}, y.data(), state.get());
    CHECK(std::abs(number(mean, 0) / (far + 2) - 1) < tolerance<T>(1));
    CHECK(std::abs(number(variance, 0) - 2.0 * n / (n - 1)) < 1e-6);
    // Of equal numbers no distance is left, whatever their sum was rounded to.
    const Array<T> same(n, T(0.1));
    plan->forward(same.data(), 0, {mean.data(), variance.data(), factor.data()}, y.data(), state.get());
    CHECK(number(mean, 0) == number(same, 0));
    CHECK(number(variance, 0) == 0);
  });
}

}  // namespace
}  // namespace sparknet::kernels
