#include "kernels/cpu/pointwise.h"

#include <algorithm>

#include "kernels/cpu/output_gradient.h"

namespace sparknet::kernels::cpu {
namespace {

/// Bytes of packed pixels that a thread works on at a time: less than half of a second-level cache.
constexpr Index kBlockBytes = 384 * 1024;
/// Pixels whose products with the gradients are summed at a time.
constexpr Index kGradientPixels = 512;
/// Pixels that are worth the packing.
constexpr Index kLeastPixels = 128;

/// y[image][output][pixel] = act(bias[output] + sum over channels of w * x[image][channel][pixel]) for each group, with
/// weights packed in panels: [group][panel][channel][output]. Pixels are numbered through all images.
template <class T>
class PointwiseProduct {
 public:
  PointwiseProduct(Engine& engine, Index groups, Index channels, Index outputs, Index batch, Index pixels)
      : team_(engine.team),
        hot_(table<T>(engine)),
        groups_(groups),
        channels_(channels),
        outputs_(outputs),
        pixels_(pixels),
        count_(batch * pixels),
        unit_(2 * hot_.lanes),
        panels_((outputs + hot_.max_rows - 1) / hot_.max_rows),
        height_((outputs + panels_ - 1) / panels_) {
    const Index fitting = std::max<Index>(1, kBlockBytes / (channels * unit_ * static_cast<Index>(sizeof(T))));
    const Index units = (count_ + unit_ - 1) / unit_, team = team_.size();
    // Each thread takes a part of the pixels or, where that shares the work much more evenly, all of them for a part of
    // the panels: packing pixels is little beside the products.
    const auto longest = [team](Index n) {
      return static_cast<double>((n + team - 1) / team) / static_cast<double>(n);
    };
    parts_ = 1.1 * longest(panels_) < longest(units) ? static_cast<int>(std::min(team, panels_)) : 1;
    const Index shares = parts_ > 1 ? 1 : team;
    blocks_ = std::min(units, round_up((units + fitting - 1) / fitting, shares));
    block_units_ = (units + blocks_ - 1) / blocks_;
    blocks_ = (units + block_units_ - 1) / block_units_;
    packed_at_ = layout_.add(block_units_ * channels_ * unit_);
    tile_at_ = layout_.add(height_ * unit_);
    for (Index c = 0; c < channels_; ++c) offsets_.push_back(static_cast<std::int32_t>(c * unit_));
  }

  /// A whole number of cache lines.
  Index weights_size() const { return round_up(groups_ * panels_ * channels_ * height_, 64); }
  Index scratch_size() const { return team_.size() * layout_.size(); }

  /// From w[output][channel], or, swapped, from w[channel][output].
  void pack(bool swapped, const T* weights, T* packed) const {
    team_.run([&](int worker) {
      const Share part = share(groups_ * panels_, team_.size(), worker);
      for (Index i = part.begin; i < part.end; ++i) pack_panel(i, swapped, weights, packed);
    });
  }

  void run(const T* x, const T* packed, const T* bias, Activation activation, T* y, T* scratch) const {
    team_.run([&](int worker) {
      const Share part = share(groups_ * blocks_ * parts_, team_.size(), worker);
      T* const own = scratch + worker * layout_.size();
      for (Index i = part.begin; i < part.end; ++i) run_piece(i, x, packed, bias, activation, y, own);
    });
  }

 private:
  void pack_panel(Index piece, bool swapped, const T* weights, T* packed) const {
    const Index group = piece / panels_;
    const Share rows = share(outputs_, static_cast<int>(panels_), static_cast<int>(piece % panels_));
    const T* const from = weights + group * outputs_ * channels_;
    T* const to = packed + piece * channels_ * height_;
    if (swapped) {
      hot_.copy_block({channels_, rows.size(), from + rows.begin, outputs_, 1, to, height_, 1});
    } else {
      hot_.transpose(rows.size(), channels_, from + rows.begin * channels_, channels_, to, height_);
    }
  }

  void run_piece(
      Index piece, const T* x, const T* packed, const T* bias, Activation activation, T* y, T* scratch) const {
    // The pieces of a thread are those of one part, which are neighbours.
    const Index part = piece / (groups_ * blocks_), rest = piece % (groups_ * blocks_);
    const Share panels = share(panels_, parts_, static_cast<int>(part));
    const Index group = rest % groups_;
    const Index begin = rest / groups_ * block_units_ * unit_;
    const Index end = std::min(begin + block_units_ * unit_, count_);
    T* const columns = scratch + packed_at_;
    for_segments(begin, end, [&](Index image, Index pixel, Index size, Index at) {
      const T* const from = x + (image * groups_ + group) * channels_ * pixels_ + pixel;
      T* const to = columns + at / unit_ * channels_ * unit_ + at % unit_;
      hot_.copy_block({channels_, size, from, pixels_, 1, to, unit_, 1});
    });
    TileArgs<T> args{};
    args.k = channels_;
    args.lda = height_;
    args.offsets = offsets_.data();
    args.relu = activation.relu;
    args.slope = static_cast<T>(activation.negative_slope);
    for (Index panel = panels.begin; panel < panels.end; ++panel) {
      const Share rows = share(outputs_, static_cast<int>(panels_), static_cast<int>(panel));
      args.rows = rows.size();
      args.a = packed + (group * panels_ + panel) * channels_ * height_;
      args.bias = bias ? bias + group * outputs_ + rows.begin : nullptr;
      for (Index at = begin; at < end; at += unit_) {
        args.columns = std::min(unit_, end - at);
        args.b = columns + (at - begin) * channels_;
        const bool whole = at / pixels_ == (at + args.columns - 1) / pixels_;
        args.c = whole ? place(y, at / pixels_, group, rows.begin) + at % pixels_ : scratch + tile_at_;
        args.ldc = whole ? pixels_ : unit_;
        hot_.tiles_packed(args);
        if (whole) continue;
        for_segments(at, at + args.columns, [&](Index image, Index pixel, Index size, Index column) {
          T* const to = place(y, image, group, rows.begin) + pixel;
          hot_.copy_block({args.rows, size, scratch + tile_at_ + column, unit_, 1, to, pixels_, 1});
        });
      }
    }
  }

  T* place(T* y, Index image, Index group, Index output) const {
    return y + ((image * groups_ + group) * outputs_ + output) * pixels_;
  }

  /// Calls f(image, pixel, how many, how many before) for pieces of [begin, end) that lie in one image and one unit
  /// from begin.
  template <class F>
  void for_segments(Index begin, Index end, F&& f) const {
    for (Index at = begin; at < end;) {
      const Index unit_end = begin + ((at - begin) / unit_ + 1) * unit_;
      const Index stop = std::min({end, unit_end, (at / pixels_ + 1) * pixels_});
      f(at / pixels_, at % pixels_, stop - at, at - begin);
      at = stop;
    }
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  /// Channels and outputs are of one group; pixels are of one image, and of all.
  Index groups_, channels_, outputs_, pixels_, count_;
  /// Pixels of a tile; panels of outputs, and outputs in the tallest.
  Index unit_, panels_, height_;
  Index block_units_, blocks_;
  /// Into how many pieces of work the panels of a block are cut.
  int parts_;
  /// Scratch of each thread.
  Layout<T> layout_;
  Index packed_at_, tile_at_;
  std::vector<std::int32_t> offsets_;
};

/// The pixels that a stride does not leave out.
template <class T>
class KeptPixels {
 public:
  KeptPixels(Engine& engine, const ConvolutionShape& shape)
      : team_(engine.team), hot_(table<T>(engine)), s_(shape), pixels_(shape.out_h() * shape.out_w()) {}

  bool all() const { return s_.stride_h == 1 && s_.stride_w == 1; }
  Index size() const { return all() ? 0 : s_.batch * s_.channels * pixels_; }

  /// Those of x, one behind the other in `room`, or x itself.
  const T* gather(const T* x, T* room) const {
    if (all()) return x;
    for_planes([&](Index begin, Index end) {
      for (Index plane = begin; plane < end; ++plane) {
        const T* const from = x + plane * s_.height * s_.width;
        const Index row = s_.stride_h * s_.width;
        hot_.copy_block({s_.out_h(), s_.out_w(), from, row, s_.stride_w, room + plane * pixels_, s_.out_w(), 1});
      }
    });
    return room;
  }

  /// The way back, with zeros between.
  void spread(const T* kept, T* dx) const {
    for_planes([&](Index begin, Index end) {
      std::fill(dx + begin * s_.height * s_.width, dx + end * s_.height * s_.width, T(0));
      for (Index plane = begin; plane < end; ++plane) {
        T* const to = dx + plane * s_.height * s_.width;
        const Index row = s_.stride_h * s_.width;
        hot_.copy_block({s_.out_h(), s_.out_w(), kept + plane * pixels_, s_.out_w(), 1, to, row, s_.stride_w});
      }
    });
  }

 private:
  /// Calls f(planes [begin, end)) on all threads.
  template <class F>
  void for_planes(F&& f) const {
    for_ranges(team_, s_.batch * s_.channels, 1, 1 + kWorthWaking / (s_.height * s_.width), f);
  }

  ThreadTeam& team_;
  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Index pixels_;
};

template <class T>
class PreparedPointwise final : public PreparedLinear {
 public:
  PreparedPointwise(Engine& engine, const ConvolutionShape& s, Activation activation)
      : activation_(activation),
        kept_(engine, s),
        product_(engine, s.group, s.channels / s.group, s.num_output / s.group, s.batch, s.out_h() * s.out_w()) {
    kept_at_ = layout_.add(kept_.size());
    own_at_ = layout_.add(product_.scratch_size());
  }

  std::size_t scratch_bytes() const override { return static_cast<std::size_t>(layout_.size()) * sizeof(T); }
  std::size_t prepared_bytes() const override { return static_cast<std::size_t>(product_.weights_size()) * sizeof(T); }

  void prepare(const void* weights, void* prepared, void*) override {
    product_.pack(false, static_cast<const T*>(weights), static_cast<T*>(prepared));
  }

  void forward(const void* x, const void* prepared, const void* bias, void* y, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    product_.run(
        kept_.gather(static_cast<const T*>(x), shared + kept_at_),
        static_cast<const T*>(prepared),
        static_cast<const T*>(bias),
        activation_,
        static_cast<T*>(y),
        shared + own_at_);
  }

 private:
  Activation activation_;
  KeptPixels<T> kept_;
  PointwiseProduct<T> product_;
  Layout<T> layout_;
  Index kept_at_, own_at_;
};

template <class T>
class Pointwise final : public Linear {
 public:
  Pointwise(Engine& engine, const ConvolutionShape& shape, Activation activation)
      : engine_(engine),
        hot_(table<T>(engine)),
        s_(shape),
        activation_(activation),
        channels_(shape.channels / shape.group),
        outputs_(shape.num_output / shape.group),
        pixels_(shape.out_h() * shape.out_w()),
        kept_(engine, shape),
        forward_(engine, shape, activation),
        backward_(engine, shape.group, outputs_, channels_, shape.batch, pixels_),
        unit_(2 * hot_.lanes),
        blocks_((channels_ + unit_ - 1) / unit_),
        chunk_(std::min(pixels_, kGradientPixels)) {
    sums_at_ = layout_.add(s_.batch * s_.num_output);
    kept_at_ = layout_.add(kept_.size());
    weights_at_ = layout_.add(backward_.weights_size());
    turned_at_ = layout_.add(blocks_ * chunk_ * unit_);
    own_at_ = layout_.add(backward_.scratch_size());
    for (Index p = 0; p < chunk_; ++p) offsets_.push_back(static_cast<std::int32_t>(p * unit_));
  }

  std::size_t scratch_bytes() const override {
    return std::max(
        forward_.prepared_bytes() + forward_.scratch_bytes(),
        static_cast<std::size_t>(layout_.size()) * sizeof(T));
  }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    void* const rest = static_cast<std::byte*>(scratch) + forward_.prepared_bytes();
    forward_.prepare(weights, scratch, rest);
    forward_.forward(x, scratch, bias, y, rest);
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    const T* const dy = static_cast<const T*>(args.dy);
    mask_and_sum(engine_, s_.batch, s_.num_output, pixels_, activation_, args, shared + sums_at_);
    if (args.dweights) {
      const T* const input = kept_.gather(static_cast<const T*>(args.x), shared + kept_at_);
      weight_gradient(input, dy, args.accumulate, static_cast<T*>(args.dweights), shared + turned_at_);
    }
    if (args.dx) {
      T* const dx = static_cast<T*>(args.dx);
      T* const kept = kept_.all() ? dx : shared + kept_at_;
      backward_.pack(true, static_cast<const T*>(args.weights), shared + weights_at_);
      backward_.run(dy, shared + weights_at_, nullptr, Activation{}, kept, shared + own_at_);
      if (!kept_.all()) kept_.spread(kept, dx);
    }
  }

 private:
  /// dw[output][channel] = sum over the pixels, in their order whatever the number of threads, of dy * x.
  void weight_gradient(const T* x, const T* dy, bool accumulate, T* dw, T* turned) {
    const Index panels = (outputs_ + hot_.max_rows - 1) / hot_.max_rows;
    for (Index group = 0; group < s_.group; ++group) {
      for (Index image = 0; image < s_.batch; ++image) {
        for (Index begin = 0; begin < pixels_; begin += chunk_) {
          const Index size = std::min(chunk_, pixels_ - begin), number = image * s_.group + group;
          const T* const input = x + number * channels_ * pixels_ + begin;
          engine_.team.run([&](int worker) {
            const Share part = share(blocks_, engine_.team.size(), worker);
            for (Index block = part.begin; block < part.end; ++block) {
              const Index c = block * unit_, n = std::min(unit_, channels_ - c);
              hot_.transpose(n, size, input + c * pixels_, pixels_, turned + block * chunk_ * unit_, unit_);
            }
          });
          engine_.team.run([&](int worker) {
            const Share part = share(panels * blocks_, engine_.team.size(), worker);
            TileArgs<T> args{};
            args.k = size;
            args.lda = pixels_;
            args.offsets = offsets_.data();
            args.ldc = channels_;
            args.accumulate = accumulate || image > 0 || begin > 0;
            for (Index i = part.begin; i < part.end; ++i) {
              const Share rows = share(outputs_, static_cast<int>(panels), static_cast<int>(i / blocks_));
              const Index c = i % blocks_ * unit_;
              args.rows = rows.size();
              args.columns = std::min(unit_, channels_ - c);
              args.a = dy + (number * outputs_ + rows.begin) * pixels_ + begin;
              args.b = turned + i % blocks_ * chunk_ * unit_;
              args.c = dw + (group * outputs_ + rows.begin) * channels_ + c;
              hot_.tiles_rows(args);
            }
          });
        }
      }
    }
  }

  Engine& engine_;
  const HotTable<T>& hot_;
  ConvolutionShape s_;
  Activation activation_;
  /// Of one group; pixels of the output.
  Index channels_, outputs_, pixels_;
  KeptPixels<T> kept_;
  PreparedPointwise<T> forward_;
  PointwiseProduct<T> backward_;
  /// For the weights' gradient: channels in a block, blocks, and pixels at a time.
  Index unit_, blocks_, chunk_;
  /// Scratch of the backward pass.
  Layout<T> layout_;
  Index sums_at_, kept_at_, weights_at_, turned_at_, own_at_;
  std::vector<std::int32_t> offsets_;
};

}  // namespace

bool is_pointwise(const ConvolutionShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.pad_h == 0 && s.pad_w == 0;
}
bool is_wide(const ConvolutionShape& s) {
  return s.batch * s.out_h() * s.out_w() >= kLeastPixels;
}

std::unique_ptr<Linear> make_pointwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    return std::make_unique<Pointwise<decltype(zero)>>(engine, shape, activation);
  });
}

std::unique_ptr<PreparedLinear> make_prepared_pointwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<PreparedLinear> {
    return std::make_unique<PreparedPointwise<decltype(zero)>>(engine, shape, activation);
  });
}

}  // namespace sparknet::kernels::cpu
