#include <algorithm>

#include "kernels/cpu/input_gradient.h"
#include "kernels/cpu/output_gradient.h"
#include "kernels/cpu/pointwise.h"
#include "kernels/cpu/weight_gradient.h"
#include "kernels/cpu/winograd.h"

namespace sparknet::kernels::cpu {
namespace {

template <class T>
class Convolution final : public Linear {
 public:
  Convolution(Engine& engine, const ConvolutionShape& shape, Activation activation)
      : engine_(engine),
        shape_(shape),
        activation_(activation),
        forward_(engine, shape),
        input_gradient_(engine, shape),
        weight_gradient_(engine, shape) {
    bias_sums_at_ = shared_.add(shape.batch * shape.num_output);
    turned_at_ = shared_.add(input_gradient_.weights_size());
    sums_at_ = shared_.add(weight_gradient_.sums_size());
    worker_size_ = round_up(
        std::max({forward_.scratch_size(), weight_gradient_.scratch_size(), input_gradient_.scratch_size()}),
        64);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(shared_.size() + engine_.team.size() * worker_size_) * sizeof(T);
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    const Index pieces = forward_.pieces();
    run(shape_.batch * pieces, scratch, [&](Share part, T* own) {
      for (Index i = part.begin; i < part.end; ++i) {
        forward_.run(
            i / pieces,
            i % pieces,
            static_cast<const T*>(x),
            static_cast<const T*>(weights),
            static_cast<const T*>(bias),
            activation_,
            static_cast<T*>(y),
            own);
      }
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    mask_and_sum(
        engine_,
        shape_.batch,
        shape_.num_output,
        shape_.out_h() * shape_.out_w(),
        activation_,
        args,
        shared + bias_sums_at_);
    if (args.dweights) weights_backward(args, shared);
    if (args.dx) input_backward(args, shared);
  }

 private:
  /// Calls f(part of the pieces, scratch of the thread) on all threads.
  template <class F>
  void run(Index pieces, void* scratch, F&& f) {
    engine_.team.run([&](int worker) {
      const Share part = share(pieces, engine_.team.size(), worker);
      f(part, static_cast<T*>(scratch) + shared_.size() + worker * worker_size_);
    });
  }

  void weights_backward(const BackwardArgs& args, T* shared) {
    run(weight_gradient_.pieces(), shared, [&](Share part, T* own) {
      weight_gradient_
          .run(part.begin, part.end, static_cast<const T*>(args.x), static_cast<T*>(args.dy), shared + sums_at_, own);
    });
    run(shape_.num_output, shared, [&](Share part, T*) {
      for (Index o = part.begin; o < part.end; ++o) {
        weight_gradient_.reduce(o, shared + sums_at_, args.accumulate, static_cast<T*>(args.dweights));
      }
    });
  }

  void input_backward(const BackwardArgs& args, T* shared) {
    if (input_gradient_.weights_size() > 0) {
      run(shape_.channels, shared, [&](Share part, T*) {
        for (Index c = part.begin; c < part.end; ++c) {
          input_gradient_.turn(c, static_cast<const T*>(args.weights), shared + turned_at_);
        }
      });
    }
    const Index pieces = input_gradient_.pieces();
    run(shape_.batch * pieces, shared, [&](Share part, T* own) {
      for (Index i = part.begin; i < part.end;) {
        const Index image = i / pieces, end = std::min(part.end, (image + 1) * pieces);
        input_gradient_.run(
            image,
            {i - image * pieces, end - image * pieces},
            static_cast<const T*>(args.weights),
            shared + turned_at_,
            static_cast<T*>(args.dy),
            static_cast<T*>(args.dx),
            own);
        i = end;
      }
    });
  }

  Engine& engine_;
  ConvolutionShape shape_;
  Activation activation_;
  Correlation<T> forward_;
  InputGradient<T> input_gradient_;
  WeightGradient<T> weight_gradient_;
  /// Scratch: what all threads share, then room for each.
  Layout<T> shared_;
  Index bias_sums_at_, turned_at_, sums_at_;
  Index worker_size_;
};

/// Whether the offsets of a depthwise plan, which have 32 bits, reach all it lays out. (A bound: the phases of a
/// channel together are as large as the padded image and what hangs over.)
bool fits_depthwise(const ConvolutionShape& s) {
  const auto side = [](Index size, Index pad, Index kernel, Index dilation, Index stride) {
    return static_cast<double>(size) + 2.0 * static_cast<double>(pad) +
           static_cast<double>(dilation) * static_cast<double>(kernel - 1) + 2.0 * static_cast<double>(stride);
  };
  const double elements = side(s.height, s.pad_h, s.kernel_h, s.dilation_h, s.stride_h) *
                          side(s.width, s.pad_w, s.kernel_w, s.dilation_w, s.stride_w);
  return elements * static_cast<double>(s.num_output / s.channels) < 2147483648.0;
}

bool is_depthwise(const ConvolutionShape& shape) {
  return shape.group > 1 && shape.group == shape.channels && fits_depthwise(shape);
}

Index lanes_of(const Engine& engine, DType dtype) {
  return dtype == DType::F32 ? engine.hot.f32.lanes : engine.hot.f64.lanes;
}

Winograd filtering_of(const Engine& engine, DType dtype) {
  return engine.winograd == Winograd::WhereFaster && dtype != DType::F32 ? Winograd::Never : engine.winograd;
}

}  // namespace

std::unique_ptr<Linear> make_convolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  if (is_depthwise(shape)) return make_depthwise(engine, dtype, shape, activation);
  if (is_pointwise(shape) && is_wide(shape)) return make_pointwise(engine, dtype, shape, activation);
  if (const auto form = winograd_form(shape, lanes_of(engine, dtype), filtering_of(engine, dtype)))
    return make_winograd(engine, dtype, shape, *form, activation);
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<Convolution<decltype(zero)>>(engine, shape, activation);
  });
}

std::unique_ptr<PreparedLinear> make_prepared_convolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  if (is_depthwise(shape)) return nullptr;
  if (is_pointwise(shape)) return make_prepared_pointwise(engine, dtype, shape, activation);
  if (const auto form = prepared_winograd_form(shape, lanes_of(engine, dtype), filtering_of(engine, dtype)))
    return make_prepared_winograd(engine, dtype, shape, *form, activation);
  return nullptr;
}

}  // namespace sparknet::kernels::cpu
