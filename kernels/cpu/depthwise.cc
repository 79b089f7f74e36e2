#include <algorithm>
#include <vector>

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {
namespace {

/// A convolution whose groups have one channel each. A channel is copied once, with its padding, and cut by the stride
/// into phases: rows and columns whose numbers leave the same remainder. In a phase the neighbours of a window are
/// neighbours in memory, so that what one tap meets at all positions is one piece of it. The pieces are as wide as the
/// copy, and what lies between the rows of the output is computed and dropped.
template <class T>
class Depthwise final : public Linear {
 public:
  Depthwise(Engine& engine, const ConvolutionShape& shape, Activation activation)
      : engine_(engine),
        hot_(table<T>(engine)),
        s_(shape),
        activation_(activation),
        outputs_(shape.num_output / shape.channels),
        taps_(shape.kernel_h * shape.kernel_w),
        positions_(shape.out_h() * shape.out_w()),
        pixels_(shape.height * shape.width),
        halo_h_((shape.kernel_h - 1) * shape.dilation_h / shape.stride_h),
        halo_w_((shape.kernel_w - 1) * shape.dilation_w / shape.stride_w) {
    const Index last_h = (s_.height - 1 + s_.pad_h) / s_.stride_h, last_w = (s_.width - 1 + s_.pad_w) / s_.stride_w;
    first_h_ = s_.pad_h / s_.stride_h;
    first_w_ = s_.pad_w / s_.stride_w;
    phase_h_ = last_h + 1 - first_h_;
    phase_w_ = last_w + 1 - first_w_;
    gradient_rows_ = halo_h_ + std::max(s_.out_h(), last_h + 1);
    pitch_ = halo_w_ + std::max(s_.out_w(), last_w + 1);
    span_ = (s_.out_h() - 1) * pitch_ + s_.out_w();
    gradient_span_ = (phase_h_ - 1) * pitch_ + phase_w_;
    plan_taps();

    const Index slack = 2 * hot_.lanes;  // a product may read and write as far behind the end
    row_ = round_up(std::max(span_, gradient_span_) + slack, slack);
    x_size_ = static_cast<Index>(phases_.size()) * (s_.out_h() + halo_h_) * pitch_;
    x_at_ = layout_.add(x_size_ + slack);
    gradient_at_ = layout_.add(outputs_ * gradient_rows_ * pitch_ + slack);
    row_at_ = layout_.add(outputs_ * row_);
    weights_at_ = layout_.add(outputs_ * taps_);
    sums_at_ = layout_.add(outputs_ * (taps_ + 1));
    products_at_ = layout_.add(taps_);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(engine_.team.size() * layout_.size()) * sizeof(T);
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    engine_.team.run([&](int worker) {
      T* const own = static_cast<T*>(scratch) + worker * layout_.size();
      const Share part = share(s_.batch * s_.channels, engine_.team.size(), worker);
      std::fill_n(own + x_at_, x_size_, T(0));
      for (Index plane = part.begin; plane < part.end; ++plane) {
        const Index first = plane % s_.channels * outputs_;
        spread(static_cast<const T*>(x) + plane * pixels_, own + x_at_);
        TileArgs<T> args{};
        args.columns = span_;
        args.k = taps_;
        args.a = static_cast<const T*>(weights) + first * taps_;
        args.lda = taps_;
        args.b = own + x_at_;
        args.offsets = tap_offsets_.data();
        args.c = own + row_at_;
        args.ldc = row_;
        args.bias = bias ? static_cast<const T*>(bias) + first : nullptr;
        args.relu = activation_.relu;
        args.slope = static_cast<T>(activation_.negative_slope);
        run_panels(hot_, hot_.tiles_rows, args, outputs_, taps_);
        for (Index o = 0; o < outputs_; ++o) {
          T* const to = static_cast<T*>(y) + (plane * outputs_ + o) * positions_;
          hot_.copy_block({s_.out_h(), s_.out_w(), own + row_at_ + o * row_, pitch_, 1, to, s_.out_w(), 1});
        }
      }
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    // Whole channels, so that no sums of several threads are to be added up.
    engine_.team.run([&](int worker) {
      T* const own = static_cast<T*>(scratch) + worker * layout_.size();
      const Share part = share(s_.channels, engine_.team.size(), worker);
      std::fill_n(own + x_at_, x_size_, T(0));
      std::fill_n(own + gradient_at_, outputs_ * gradient_rows_ * pitch_, T(0));
      for (Index c = part.begin; c < part.end; ++c) backward_channel(args, own, c);
    });
  }

 private:
  /// What is met by the taps that begin in one phase.
  struct Phase {
    Index h, w;
    std::vector<Index> taps;
    /// Where they meet the padded gradients, for all outputs.
    std::vector<std::int32_t> offsets;
  };

  void plan_taps() {
    const Index plane = (s_.out_h() + halo_h_) * pitch_;
    for (Index kh = 0; kh < s_.kernel_h; ++kh) {
      for (Index kw = 0; kw < s_.kernel_w; ++kw) {
        const Index h = kh * s_.dilation_h, w = kw * s_.dilation_w;
        const Index down = h / s_.stride_h, right = w / s_.stride_w;
        auto phase = std::find_if(phases_.begin(), phases_.end(), [&](const Phase& p) {
          return p.h == h % s_.stride_h && p.w == w % s_.stride_w;
        });
        if (phase == phases_.end()) phase = phases_.insert(phase, {h % s_.stride_h, w % s_.stride_w, {}, {}});
        phase->taps.push_back(kh * s_.kernel_w + kw);
        phase->offsets.push_back(
            static_cast<std::int32_t>((halo_h_ - down + first_h_) * pitch_ + halo_w_ - right + first_w_));
        tap_offsets_.push_back(static_cast<std::int32_t>((phase - phases_.begin()) * plane + down * pitch_ + right));
      }
    }
    for (Phase& phase : phases_) {
      const std::vector<std::int32_t> first = phase.offsets;
      for (Index o = 1; o < outputs_; ++o) {
        for (const std::int32_t offset : first) {
          phase.offsets.push_back(offset + static_cast<std::int32_t>(o * gradient_rows_ * pitch_));
        }
      }
    }
  }

  /// The rows or columns of a phase that lie in the image.
  static Share inside(Index first, Index stride, Index size, Index count) {
    const Index begin = std::min(count, first >= 0 ? 0 : (-first + stride - 1) / stride);
    return {begin, std::max(begin, first >= size ? 0 : std::min(count, (size - 1 - first) / stride + 1))};
  }

  /// A channel as phases, whose padding is zero already.
  void spread(const T* x, T* to) const {
    for (const Phase& phase : phases_) {
      const Index top = phase.h - s_.pad_h, left = phase.w - s_.pad_w;
      const Share rows = inside(top, s_.stride_h, s_.height, s_.out_h() + halo_h_);
      const Share columns = inside(left, s_.stride_w, s_.width, pitch_);
      if (rows.size() > 0 && columns.size() > 0) {
        hot_.copy_block(
            {rows.size(),
             columns.size(),
             x + (top + rows.begin * s_.stride_h) * s_.width + left + columns.begin * s_.stride_w,
             s_.stride_h * s_.width,
             s_.stride_w,
             to + rows.begin * pitch_ + columns.begin,
             pitch_,
             1});
      }
      to += (s_.out_h() + halo_h_) * pitch_;
    }
  }

  void backward_channel(const BackwardArgs& args, T* own, Index c) const {
    T* const sums = own + sums_at_;
    T* const bias_sums = sums + outputs_ * taps_;
    std::fill_n(sums, outputs_ * (taps_ + 1), T(0));
    if (args.dx) gather_weights(static_cast<const T*>(args.weights) + c * outputs_ * taps_, own + weights_at_);
    for (Index n = 0; n < s_.batch; ++n) {
      const Index plane = n * s_.channels + c;
      T* const dy = static_cast<T*>(args.dy) + plane * outputs_ * positions_;
      if (activation_.relu || args.dbias) {
        hot_.gradient(
            {outputs_,
             positions_,
             dy,
             activation_.relu ? static_cast<const T*>(args.y) + plane * outputs_ * positions_ : nullptr,
             positions_,
             static_cast<T>(activation_.negative_slope),
             nullptr,
             0,
             bias_sums});
      }
      if (!args.dx && !args.dweights) continue;
      for (Index o = 0; o < outputs_; ++o) {
        hot_.copy_block({s_.out_h(), s_.out_w(), dy + o * positions_, s_.out_w(), 1, gradient(own, o), pitch_, 1});
      }
      if (args.dweights) add_weights(static_cast<const T*>(args.x) + plane * pixels_, own, sums);
      if (args.dx) input_gradient(own, static_cast<T*>(args.dx) + plane * pixels_);
    }
    const auto store = [&](const T* from, void* to, Index begin, Index count) {
      if (!to) return;
      T* const out = static_cast<T*>(to) + begin;
      for (Index i = 0; i < count; ++i) out[i] = args.accumulate ? out[i] + from[i] : from[i];
    };
    store(sums, args.dweights, c * outputs_ * taps_, outputs_ * taps_);
    store(bias_sums, args.dbias, c * outputs_, outputs_);
  }

  /// The padded gradient of one output; zeros lie before it and between its rows.
  T* gradient(T* own, Index o) const { return own + gradient_at_ + (o * gradient_rows_ + halo_h_) * pitch_ + halo_w_; }

  void add_weights(const T* x, T* own, T* sums) const {
    spread(x, own + x_at_);
    T* const products = own + products_at_;
    for (Index o = 0; o < outputs_; ++o) {
      hot_.dot_pieces(taps_, span_, own + x_at_, tap_offsets_.data(), gradient(own, o), products);
      for (Index t = 0; t < taps_; ++t) sums[o * taps_ + t] += products[t];
    }
  }

  /// The weights of a channel, phase after phase.
  void gather_weights(const T* weights, T* to) const {
    for (const Phase& phase : phases_) {
      for (Index o = 0; o < outputs_; ++o) {
        for (const Index tap : phase.taps) *to++ = weights[o * taps_ + tap];
      }
    }
  }

  void input_gradient(T* own, T* dx) const {
    // Elements that no tap meets.
    if (static_cast<Index>(phases_.size()) < s_.stride_h * s_.stride_w) std::fill_n(dx, pixels_, T(0));
    const T* weights = own + weights_at_;
    for (const Phase& phase : phases_) {
      TileArgs<T> args{};
      args.rows = 1;
      args.columns = gradient_span_;
      args.k = static_cast<Index>(phase.offsets.size());
      args.a = weights;
      args.lda = args.k;
      args.b = own + gradient_at_;
      args.offsets = phase.offsets.data();
      args.c = own + row_at_;
      args.ldc = row_;
      hot_.tiles_rows(args);
      weights += args.k;
      const Index top = first_h_ * s_.stride_h + phase.h - s_.pad_h;
      const Index left = first_w_ * s_.stride_w + phase.w - s_.pad_w;
      const Share rows = inside(top, s_.stride_h, s_.height, phase_h_);
      const Share columns = inside(left, s_.stride_w, s_.width, phase_w_);
      if (rows.size() == 0 || columns.size() == 0) continue;
      hot_.copy_block(
          {rows.size(),
           columns.size(),
           own + row_at_ + rows.begin * pitch_ + columns.begin,
           pitch_,
           1,
           dx + (top + rows.begin * s_.stride_h) * s_.width + left + columns.begin * s_.stride_w,
           s_.stride_h * s_.width,
           s_.stride_w});
    }
  }

  Engine& engine_;
  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Activation activation_;
  /// Outputs of one channel.
  Index outputs_;
  Index taps_, positions_, pixels_;
  /// How far a window reaches beyond its first element, in phases.
  Index halo_h_, halo_w_;
  /// The rows and columns of a phase that hold elements of the image.
  Index first_h_ = 0, first_w_ = 0, phase_h_ = 0, phase_w_ = 0;
  Index gradient_rows_ = 0;
  /// From row to row, in phases and padded gradients.
  Index pitch_ = 0;
  /// Elements from the first to the last output, and from the first to the last element of a phase.
  Index span_ = 0, gradient_span_ = 0;
  std::vector<Phase> phases_;
  std::vector<std::int32_t> tap_offsets_;
  /// Scratch of each thread.
  Layout<T> layout_;
  Index row_ = 0, x_size_ = 0;
  Index x_at_ = 0, gradient_at_ = 0, row_at_ = 0, weights_at_ = 0, sums_at_ = 0, products_at_ = 0;
};

}  // namespace

std::unique_ptr<Linear> make_depthwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<Depthwise<decltype(zero)>>(engine, shape, activation);
  });
}

}  // namespace sparknet::kernels::cpu
