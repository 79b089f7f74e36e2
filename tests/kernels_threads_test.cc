// The same inputs give the same bits on any number of threads: each operation that sums, at sizes that threads share.

#include <string>
#include <vector>

#include "tests/kernels_test.h"

namespace sparknet::kernels {
namespace {

/// Calls f(backend, zero of the type, out) on several numbers of threads, where out(array) takes what is found, and
/// compares that.
template <class F>
void check_threads(F&& f, Winograd winograd = Winograd::WhereFaster) {
  if (test::on_gpu()) return;
  const auto check = [&](auto zero) {
    using T = decltype(zero);
    std::vector<Array<T>> alone;
    for (const int threads : {1, 2, 3, 7}) {
      CAPTURE(threads);
      const auto backend = make_cpu_backend(threads, best_isa(), winograd);
      std::size_t next = 0;
      f(*backend, zero, [&](const Array<T>& found) {
        if (threads == 1) alone.push_back(found);
        CAPTURE(next);
        REQUIRE(next < alone.size());
        CHECK(same_bits(found, alone[next++]));
      });
      CHECK(next == alone.size());
      CHECK(next > 0);
    }
  };
  check(float{});
  check(double{});
}

std::size_t to_size(Index n) {
  return static_cast<std::size_t>(n);
}

/// Forward and backward, with numbers of its own for each array.
template <class T, class Out>
void run(Linear& plan, Index x_count, Index weight_count, Index outputs, Index y_count, Out&& out) {
  const auto x = random_array<T>(to_size(x_count), 1), w = random_array<T>(to_size(weight_count), 2);
  const auto b = random_array<T>(to_size(outputs), 3);
  auto dy = random_array<T>(to_size(y_count), 4);
  Scratch scratch(plan.scratch_bytes());
  Array<T> y(to_size(y_count)), dx(to_size(x_count)), dw(to_size(weight_count)), db(to_size(outputs));
  plan.forward(x.data(), w.data(), b.data(), y.data(), scratch.get());
  out(y);
  for (const bool accumulate : {false, true}) {
    plan.backward(
        {x.data(), w.data(), y.data(), dy.data(), dx.data(), dw.data(), db.data(), accumulate},
        scratch.get());
    out(dx);
    out(dw);
    out(db);
  }
}

Index x_count(const ConvolutionShape& s) {
  return s.batch * s.channels * s.height * s.width;
}
Index y_count(const ConvolutionShape& s) {
  return s.batch * s.num_output * s.out_h() * s.out_w();
}
Index weight_count(const ConvolutionShape& s) {
  return s.num_output * (s.channels / s.group) * s.kernel_h * s.kernel_w;
}

const std::vector<ConvolutionShape> kConvolutions = {
    {64, 1, 28, 28, 20, 5, 5},                       // many parts of a sum
    {5, 3, 63, 63, 40, 7, 7, 2, 2, 3, 3},            // five
    {3, 3, 67, 67, 96, 11, 11, 4, 4},                // several panels
    {6, 160, 14, 14, 170, 3, 3, 2, 2, 1, 1},         // one, and many panels
    {2, 24, 15, 15, 30, 3, 3, 2, 2, 1, 1, 1, 1, 2},  // groups
    {2, 12, 20, 21, 8, 3, 3, 1, 1, 2, 2, 2, 2},      // dilation
    {1, 2, 70, 66, 9, 3, 5, 1, 2},                   // one image
    {3, 2, 6, 6, 4, 3, 3},                           // hardly anything
    {3, 17, 21, 20, 50, 1, 1},                       // single pixels
    {9, 33, 14, 14, 20, 1, 1, 2, 2},                 //
    {2, 3, 5, 5, 4, 1, 1},                           //
    {4, 8, 20, 20, 16, 3, 3, 1, 1, 1, 1, 1, 1, 8},   // one channel to a group
    {2, 40, 14, 7, 33, 3, 3, 1, 1, 1, 1},            //
    {5, 12, 7, 9, 12, 3, 3, 1, 1, 0, 1, 1, 1, 3},    //
    {3, 20, 12, 12, 50, 5, 5},                       //
    {2, 10, 9, 6, 34, 5, 5, 1, 1, 4, 3, 1, 1, 2},    //
    {2, 150, 8, 8, 150, 3, 3, 1, 1, 1, 1},           //
    {1, 90, 7, 7, 150, 3, 3, 1, 1, 1, 1},            // few positions, which all threads share
    {1, 90, 14, 14, 150, 1, 1},                      //
};

/// Forward with prepared weights, where there is such a plan.
template <class T, class Out>
void run_prepared(Backend& backend, const ConvolutionShape& s, Out&& out) {
  const auto plan = backend.prepared_convolution(dtype_of<T>, s, {true, 0.5});
  if (!plan) return;
  const auto x = random_array<T>(to_size(x_count(s)), 1), w = random_array<T>(to_size(weight_count(s)), 2);
  const auto b = random_array<T>(to_size(s.num_output), 3);
  Scratch prepared(plan->prepared_bytes()), scratch(plan->scratch_bytes());
  plan->prepare(w.data(), prepared.get(), scratch.get());
  Array<T> y(to_size(y_count(s)));
  plan->forward(x.data(), prepared.get(), b.data(), y.data(), scratch.get());
  out(y);
}

TEST_SUITE("threads") {
  TEST_CASE("threads change no bit of convolutions and deconvolutions") {
    for (const Winograd winograd : {Winograd::Never, Winograd::Always}) {
      for (const ConvolutionShape& s : kConvolutions) {
        INFO(s.batch, " x ", s.channels, " x ", s.height, " x ", s.width, " to ", s.num_output, " by ", s.kernel_h);
        check_threads(
            [&](Backend& backend, auto zero, const auto& out) {
              using T = decltype(zero);
              const auto plan = backend.convolution(dtype_of<T>, s, {true, 0.5});
              run<T>(*plan, x_count(s), weight_count(s), s.num_output, y_count(s), out);
              run_prepared<T>(backend, s, out);
              const auto turned = backend.deconvolution(dtype_of<T>, s, {});
              run<T>(*turned, y_count(s), weight_count(s), s.channels, x_count(s), out);
            },
            winograd);
      }
    }
  }

  TEST_CASE("threads change no bit of convolutions over three axes") {
    for (const Index channels : {2, 9}) {
      WindowShape window{5, channels, 3, {6, 9, 11}, {2, 3, 3}, {1, 1, 2}, {0, 1, 1}, {1, 1, 1}};
      check_threads([&](Backend& backend, auto zero, const auto& out) {
        using T = decltype(zero);
        const ConvolutionNdShape s{window, 12, 1};
        const auto plan = backend.convolution_nd(dtype_of<T>, s, {});
        const Index x = 5 * channels * window.pixels(), y = 5 * 12 * window.positions();
        run<T>(*plan, x, 12 * channels * window.taps(), 12, y, out);
      });
    }
  }

  TEST_CASE("threads change no bit of inner products") {
    for (const InnerProductShape& s :
         {InnerProductShape{1, 900, 400},
          InnerProductShape{3, 500, 333},
          InnerProductShape{64, 320, 170},
          InnerProductShape{100, 512, 60},
          InnerProductShape{150, 512, 300},
          InnerProductShape{20, 300, 170, true}}) {
      check_threads([&](Backend& backend, auto zero, const auto& out) {
        using T = decltype(zero);
        const auto plan = backend.inner_product(dtype_of<T>, s, {true, 0});
        run<T>(*plan, s.batch * s.inputs, s.inputs * s.num_output, s.num_output, s.batch * s.num_output, out);
      });
    }
  }

  TEST_CASE("threads change no bit of what is done with channels") {
    for (const ChannelShape& s :
         {ChannelShape{40, 7, 300},
          ChannelShape{40, 300, 4},
          ChannelShape{30000, 3, 1},
          ChannelShape{300, 200, 1},
          ChannelShape{2, 2, 20001},
          ChannelShape{1, 1, 70001}}) {
      CAPTURE(s.channels);
      check_threads([&](Backend& backend, auto zero, const auto& out) {
        using T = decltype(zero);
        const std::size_t n = to_size(s.outer * s.channels * s.inner), channels = to_size(s.channels);
        const auto x = random_array<T>(n, 1), dy = random_array<T>(n, 2), factor = random_array<T>(channels, 3, -2, 2);
        Array<T> y(n), dx(n), dfactor(channels), dbias(channels);
        const auto plan = backend.channels(dtype_of<T>, s);
        Scratch scratch(plan->scratch_bytes());
        for (const bool prelu : {false, true}) {
          ChannelGradients
              args{x.data(), factor.data(), dy.data(), dx.data(), dfactor.data(), dbias.data(), false, false};
          if (prelu) {
            args.dbias = nullptr;
            plan->prelu(x.data(), factor.data(), y.data());
            plan->prelu_backward(args, scratch.get());
          } else {
            plan->affine(x.data(), factor.data(), nullptr, y.data());
            plan->affine_backward(args, scratch.get());
          }
          for (const Array<T>* const found : {&y, &dx, &dfactor, &dbias}) out(*found);
        }

        Array<T> mean(channels), variance(channels), count(1);
        const auto norm = backend.batch_norm(dtype_of<T>, s, 1e-5);
        Scratch state(norm->state_bytes());
        norm->forward(x.data(), 0.9, {mean.data(), variance.data(), count.data()}, y.data(), state.get());
        norm->backward(y.data(), state.get(), dy.data(), dx.data());
        for (const Array<T>* const found : {&y, &dx, &mean, &variance}) out(*found);
      });
    }
  }

  TEST_CASE("threads change no bit of normalised rows") {
    for (const LayerNormShape& s :
         {LayerNormShape{700, 96, NormDivisor::Variance, 1e-5, true},
          LayerNormShape{9, 20000, NormDivisor::Deviation}}) {
      check_threads([&](Backend& backend, auto zero, const auto& out) {
        using T = decltype(zero);
        const std::size_t n = to_size(s.rows * s.size), size = to_size(s.size);
        const auto x = random_array<T>(n, 1), dy = random_array<T>(n, 2), gamma = random_array<T>(size, 3);
        Array<T> y(n), dx(n), dgamma(size), dbeta(size);
        const T* const learned = s.affine ? gamma.data() : nullptr;
        const auto plan = backend.layer_norm(dtype_of<T>, s);
        Scratch state(plan->state_bytes()), scratch(plan->scratch_bytes());
        plan->forward(x.data(), learned, learned, y.data(), state.get());
        plan->backward(
            {s.affine ? x.data() : y.data(),
             learned,
             dy.data(),
             dx.data(),
             s.affine ? dgamma.data() : nullptr,
             s.affine ? dbeta.data() : nullptr,
             false},
            state.get(),
            scratch.get());
        for (const Array<T>* const found : {&y, &dx, &dgamma, &dbeta}) out(*found);
      });
    }
  }

  TEST_CASE("threads change no bit of losses and sums") {
    constexpr std::size_t kCount = 9000 * 10;
    check_threads([&](Backend& backend, auto zero, const auto& out) {
      using T = decltype(zero);
      const auto x = random_array<T>(kCount, 1, 0.1, 0.9), matrix = random_array<T>(100, 2);
      Array<T> labels(kCount), y(1), dx(kCount);
      for (std::size_t i = 0; i < kCount; ++i) labels[i] = static_cast<T>(i % 7);
      for (const LossKind kind :
           {LossKind::Contrastive,
            LossKind::ContrastiveSquares,
            LossKind::Euclidean,
            LossKind::Hinge,
            LossKind::HingeSquares,
            LossKind::Infogain,
            LossKind::Logistic,
            LossKind::SigmoidCrossEntropy,
            LossKind::Softmax,
            LossKind::SmoothSoftmax}) {
        LossPass pass{kind, {9000, 10, 1}, x.data(), labels.data(), 1, true, 3, matrix.data(), x.data(), 0.1, 1.5};
        LossState state;
        Index verdict = 0;
        backend.loss(dtype_of<T>, pass, y.data(), &state, &verdict);
        CHECK(verdict == -1);
        backend.loss_backward(dtype_of<T>, pass, 2, y.data(), &state, dx.data());
        out(y);
        out(dx);
      }
      for (const ReduceOp op : {ReduceOp::Sum, ReduceOp::AbsSum, ReduceOp::SquareSum}) {
        for (const Index outer : {1, 2, 1000}) {
          Array<T> sums(to_size(outer));
          backend.reduce(dtype_of<T>, op, outer, static_cast<Index>(kCount) / outer, 0.5, x.data(), sums.data());
          out(sums);
        }
      }
      double squares = 0;
      backend.add_squares(dtype_of<T>, static_cast<Index>(kCount), x.data(), &squares);
      // Both halves of it, where T is float.
      y[0] = static_cast<T>(squares);
      out(y);
      y[0] = static_cast<T>(squares - static_cast<double>(y[0]));
      out(y);
    });
  }

}  // TEST_SUITE

}  // namespace
}  // namespace sparknet::kernels
