#include <algorithm>

#include "kernels/cpu/input_gradient.h"
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
        forward_(engine, shape, false),
        input_gradient_(engine, shape),
        weight_gradient_(engine, shape, input_gradient_.wants_copy()),
        workers_(static_cast<int>(std::min<Index>(engine.team.size(), shape.batch))) {
    turned_at_ = shared_.add(input_gradient_.weights_size());
    sums_at_ = shared_.add(workers_ * weight_gradient_.sum_size());
    bias_at_ = shared_.add(workers_ * shape.num_output);

    Layout<T> each;
    copy_at_ = each.add(weight_gradient_.whole() ? shape.num_output * weight_gradient_.gradient_pitch() : 0);
    rest_at_ =
        each.add(std::max({forward_.scratch_size(), weight_gradient_.scratch_size(), input_gradient_.scratch_size()}));
    worker_size_ = each.size();
    for (Index o = 0; o < shape.num_output; ++o) {
      copy_offsets_.push_back(static_cast<std::int32_t>(o * weight_gradient_.gradient_pitch()));
    }
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(shared_.size() + engine_.team.size() * worker_size_) * sizeof(T);
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    const Index pieces = forward_.pieces();
    engine_.team.run([&](int worker) {
      const Share part = share(shape_.batch * pieces, engine_.team.size(), worker);
      for (Index i = part.begin; i < part.end; ++i) {
        forward_.run(
            i / pieces,
            i % pieces,
            static_cast<const T*>(x),
            static_cast<const T*>(weights),
            static_cast<const T*>(bias),
            activation_,
            static_cast<T*>(y),
            rest(scratch, worker));
      }
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    const int team = engine_.team.size();
    if (args.dx && input_gradient_.weights_size() > 0) {
      engine_.team.run([&](int worker) {
        const Share part = share(shape_.channels, team, worker);
        for (Index c = part.begin; c < part.end; ++c) {
          input_gradient_.turn(c, static_cast<const T*>(args.weights), shared + turned_at_);
        }
      });
    }
    engine_.team.run([&](int worker) {
      const Share part = share(shape_.batch, team, worker);
      if (part.size() == 0) return;
      T* const bias = shared + bias_at_ + worker * shape_.num_output;
      std::fill_n(bias, shape_.num_output, T(0));
      for (Index image = part.begin; image < part.end; ++image) {
        backward_image(args, shared, worker, image, image == part.begin);
      }
    });
    if (!args.dweights && !args.dbias) return;
    engine_.team.run([&](int worker) {
      const Share part = share(shape_.num_output, team, worker);
      for (Index o = part.begin; o < part.end; ++o) reduce(args, shared, o);
    });
  }

 private:
  T* own(void* scratch, int worker) const { return static_cast<T*>(scratch) + shared_.size() + worker * worker_size_; }
  T* rest(void* scratch, int worker) const { return own(scratch, worker) + rest_at_; }

  void backward_image(const BackwardArgs& args, T* shared, int worker, Index image, bool start) const {
    const HotTable<T>& hot = table<T>(engine_);
    const Index positions = shape_.out_h() * shape_.out_w();
    const Index first = image * shape_.num_output * positions;
    T* const dy = static_cast<T*>(args.dy);
    const bool copies = (args.dweights && weight_gradient_.whole()) || (args.dx && input_gradient_.wants_copy());
    T* const copy = copies ? own(shared, worker) + copy_at_ : nullptr;
    if (copies || args.dbias || activation_.relu) {
      hot.gradient(
          {shape_.num_output,
           positions,
           dy + first,
           activation_.relu ? static_cast<const T*>(args.y) + first : nullptr,
           positions,
           static_cast<T>(activation_.negative_slope),
           copy,
           weight_gradient_.gradient_pitch(),
           args.dbias ? shared + bias_at_ + worker * shape_.num_output : nullptr});
    }
    if (args.dweights) {
      weight_gradient_.run(
          image,
          static_cast<const T*>(args.x),
          dy,
          copy,
          start,
          shared + sums_at_ + worker * weight_gradient_.sum_size(),
          rest(shared, worker));
    }
    if (args.dx) {
      input_gradient_.run(
          image,
          static_cast<const T*>(args.weights),
          shared + turned_at_,
          dy,
          copy,
          weight_gradient_.gradient_pitch(),
          copy_offsets_.data(),
          static_cast<T*>(args.dx),
          rest(shared, worker));
    }
  }

  void reduce(const BackwardArgs& args, const T* shared, Index o) const {
    if (args.dweights) {
      weight_gradient_.reduce(o, shared + sums_at_, workers_, args.accumulate, static_cast<T*>(args.dweights));
    }
    if (args.dbias) {
      T total = 0;
      for (int worker = 0; worker < workers_; ++worker) total += shared[bias_at_ + worker * shape_.num_output + o];
      T* const out = static_cast<T*>(args.dbias) + o;
      *out = args.accumulate ? *out + total : total;
    }
  }

  Engine& engine_;
  ConvolutionShape shape_;
  Activation activation_;
  Correlation<T> forward_;
  InputGradient<T> input_gradient_;
  WeightGradient<T> weight_gradient_;
  /// How many threads get an image of a backward pass.
  int workers_;
  /// Scratch: what all threads share, then for each thread a copy of one image's dy and room for the passes.
  Layout<T> shared_;
  Index turned_at_, sums_at_, bias_at_;
  Index copy_at_, rest_at_, worker_size_;
  std::vector<std::int32_t> copy_offsets_;
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

}  // namespace

std::unique_ptr<Linear> make_convolution(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  if (shape.group > 1 && shape.group == shape.channels && fits_depthwise(shape))
    return make_depthwise(engine, dtype, shape, activation);
  if (is_pointwise(shape)) return make_pointwise(engine, dtype, shape, activation);
  const Winograd when =
      engine.winograd == Winograd::WhereFaster && dtype != DType::F32 ? Winograd::Never : engine.winograd;
  const Index lanes = dtype == DType::F32 ? engine.hot.f32.lanes : engine.hot.f64.lanes;
  if (const auto form = winograd_form(shape, lanes, when))
    return make_winograd(engine, dtype, shape, *form, activation);
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<Convolution<decltype(zero)>>(engine, shape, activation);
  });
}

}  // namespace sparknet::kernels::cpu
