#include <algorithm>
#include <cstring>

#include "kernels/cpu/correlation.h"

namespace sparknet::kernels::cpu {
namespace {

/// Bytes of a packed block that is read many times.
constexpr Index kBlockBytes = 384 * 1024;
/// Columns of a packed block at most.
constexpr Index kBlockColumns = 256;
/// Examples that are worth turning the weights for.
constexpr Index kManyExamples = 128;
/// Products below which waking the crew costs more than it saves.
constexpr Index kWorth = 1 << 18;

template <class T>
class InnerProduct final : public Linear {
 public:
  InnerProduct(Engine& engine, const InnerProductShape& shape, Activation activation)
      : engine_(engine),
        hot_(table<T>(engine)),
        batch_(shape.batch),
        inputs_(shape.inputs),
        outputs_(shape.num_output),
        activation_(activation),
        threads_(shape.batch * shape.inputs * shape.num_output < kWorth ? 1 : engine.team.size()),
        by_dots_(shape.batch < hot_.lanes / 2),
        turns_weights_(
            shape.batch >= kManyExamples &&
            shape.batch * (shape.inputs + shape.num_output) > shape.inputs * shape.num_output),
        collide_(shape.batch > 4 * hot_.lanes && shape.inputs * static_cast<Index>(sizeof(T)) % 2048 == 0),
        columns_(round_up(shape.batch, hot_.lanes)),
        batch_pitch_(columns_ * static_cast<Index>(sizeof(T)) % 1024 == 0 ? odd_pitch<T>(columns_) : columns_),
        gradient_pitch_(odd_pitch<T>(shape.num_output + hot_.lanes)),
        block_columns_(std::min(kBlockColumns, round_up(shape.inputs, 2 * hot_.lanes))),
        block_outputs_(block_depth(shape.num_output, std::max<Index>(columns_, 128))) {
    Layout<T> forward;
    const bool turns_batch = !by_dots_ && !turns_weights_;
    turned_x_at_ = forward.add(turns_batch ? inputs_ * batch_pitch_ + hot_.lanes : 0);
    turned_y_at_ = forward.add(turns_batch ? outputs_ * batch_pitch_ : 0);
    const Index block_inputs = block_depth(inputs_, columns_);
    row_pitch_ = odd_pitch<T>(block_inputs);
    rows_size_ = collide_ && !by_dots_ ? hot_.max_rows * row_pitch_ : 0;
    Layout<T> backward;
    gradient_at_ = backward.add(batch_ * gradient_pitch_);
    blocks_at_ = backward.size();
    block_size_ = round_up(block_columns_ * std::max(batch_, block_outputs_) + 2 * hot_.lanes, 64);
    const Index blocks_end = blocks_at_ + threads_ * block_size_;
    rows_at_ = turns_weights_ ? blocks_end : forward.size();
    scratch_size_ = std::max(rows_at_ + threads_ * rows_size_, blocks_end);

    for (Index k = 0; k < block_inputs; ++k) batch_offsets_.push_back(static_cast<std::int32_t>(k * batch_pitch_));
    for (Index k = 0; k < std::max(batch_, block_outputs_); ++k) {
      block_offsets_.push_back(static_cast<std::int32_t>(k * block_columns_));
    }
    for (Index k = 0; turns_weights_ && k < std::min(block_inputs, batch_); ++k) {
      unit_offsets_.push_back(static_cast<std::int32_t>(k * 2 * hot_.lanes));
    }
  }

  std::size_t scratch_bytes() const override { return static_cast<std::size_t>(scratch_size_) * sizeof(T); }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    const T* const input = static_cast<const T*>(x);
    T* const shared = static_cast<T*>(scratch);
    if (turns_weights_) {
      const Index unit = 2 * hot_.lanes;
      run([&](int worker) {
        const Share units = share((outputs_ + unit - 1) / unit, threads_, worker);
        forward_rows(
            {units.begin * unit, std::min(units.end * unit, outputs_)},
            input,
            static_cast<const T*>(weights),
            static_cast<const T*>(bias),
            static_cast<T*>(y),
            shared + blocks_at_ + worker * block_size_,
            shared + rows_at_ + worker * rows_size_);
      });
      return;
    }
    if (!by_dots_) {
      run([&](int worker) {
        const Share part = share(inputs_, threads_, worker);
        hot_.transpose(
            batch_,
            part.size(),
            input + part.begin,
            inputs_,
            shared + turned_x_at_ + part.begin * batch_pitch_,
            batch_pitch_);
      });
    }
    run([&](int worker) {
      const Share part = share(outputs_, threads_, worker);
      if (part.size() == 0) return;
      if (by_dots_) {
        forward_dots(part, input, static_cast<const T*>(weights), static_cast<const T*>(bias), static_cast<T*>(y));
      } else {
        forward_tiles(
            part,
            static_cast<const T*>(weights),
            static_cast<const T*>(bias),
            static_cast<T*>(y),
            shared,
            shared + rows_at_ + worker * rows_size_);
      }
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    T* const shared = static_cast<T*>(scratch);
    run([&](int worker) {
      const Share part = share(outputs_, threads_, worker);
      const Index o = part.begin;
      hot_.gradient(
          {batch_,
           part.size(),
           static_cast<T*>(args.dy) + o,
           activation_.relu ? static_cast<const T*>(args.y) + o : nullptr,
           outputs_,
           static_cast<T>(activation_.negative_slope),
           shared + gradient_at_ + o,
           gradient_pitch_,
           nullptr});
      if (args.dbias) bias_gradient(args, part, shared + gradient_at_);
    });
    if (!args.dweights && !args.dx) return;
    const Index unit = 2 * hot_.lanes;
    run([&](int worker) {
      const Share units = share((inputs_ + unit - 1) / unit, threads_, worker);
      const Index end = std::min(units.end * unit, inputs_);
      T* const block = shared + blocks_at_ + worker * block_size_;
      for (Index i = units.begin * unit; i < end; i += block_columns_) {
        const Index n = std::min(block_columns_, end - i);
        if (args.dweights) weights_gradient(args, i, n, shared, block);
        if (args.dx) input_gradient(args, i, n, shared, block);
      }
    });
  }

 private:
  /// How much of a sum of `count` terms is done at a time, where each has so many columns.
  static Index block_depth(Index count, Index columns) {
    const Index bytes = std::min(kBlockColumns, columns) * static_cast<Index>(sizeof(T));
    return std::min(count, std::max<Index>(kBlockBytes / bytes, 64));
  }

  template <class F>
  void run(F&& f) {
    if (threads_ == 1) {
      f(0);
    } else {
      engine_.team.run(f);
    }
  }

  void forward_dots(Share part, const T* x, const T* weights, const T* bias, T* y) const {
    // Few enough rows of the weights to stay in the cache while the batch passes by.
    constexpr Index kRows = 16;
    for (Index o = part.begin; o < part.end; o += kRows) {
      const Index rows = std::min(kRows, part.end - o);
      for (Index n = 0; n < batch_; ++n) {
        T* const out = y + n * outputs_ + o;
        hot_.dot(rows, inputs_, weights + o * inputs_, inputs_, x + n * inputs_, out);
        if (bias) hot_.axpy(rows, T(1), bias + o, out);
        if (activation_.relu) hot_.relu(rows, static_cast<T>(activation_.negative_slope), out, out);
      }
    }
  }

  void forward_tiles(Share part, const T* weights, const T* bias, T* y, T* shared, T* rows) const {
    T* const turned_y = shared + turned_y_at_ + part.begin * batch_pitch_;
    const Index depth = static_cast<Index>(batch_offsets_.size());
    for (Index n = 0; n < columns_; n += kBlockColumns) {
      for (Index k = 0; k < inputs_; k += depth) {
        TileArgs<T> args{};
        args.columns = std::min(kBlockColumns, columns_ - n);
        args.k = std::min(depth, inputs_ - k);
        args.a = weights + part.begin * inputs_ + k;
        args.lda = inputs_;
        args.b = shared + turned_x_at_ + k * batch_pitch_ + n;
        args.offsets = batch_offsets_.data();
        args.c = turned_y + n;
        args.ldc = batch_pitch_;
        args.bias = k == 0 && bias ? bias + part.begin : nullptr;
        args.accumulate = k > 0;
        args.relu = activation_.relu && k + depth >= inputs_;
        args.slope = static_cast<T>(activation_.negative_slope);
        run_rows(hot_.tiles_rows, args, part.size(), rows);
      }
    }
    hot_.transpose(part.size(), batch_, turned_y, batch_pitch_, y + part.begin, outputs_);
  }

  /// With vectors along the outputs: only weights are turned, a block at a time, and y is written where it belongs. In
  /// a block the weights of the outputs of one tile lie together.
  void forward_rows(Share part, const T* x, const T* weights, const T* bias, T* y, T* block, T* rows) const {
    const Index unit = 2 * hot_.lanes, depth = static_cast<Index>(unit_offsets_.size());
    for (Index o = part.begin; o < part.end; o += block_columns_) {
      const Index n = std::min(block_columns_, part.end - o);
      for (Index b = 0; bias && b < batch_; ++b) std::copy_n(bias + o, n, y + b * outputs_ + o);
      for (Index k = 0; k < inputs_; k += depth) {
        TileArgs<T> args{};
        args.k = std::min(depth, inputs_ - k);
        for (Index j = 0; j < n; j += unit) {
          const T* const from = weights + (o + j) * inputs_ + k;
          hot_.transpose(std::min(unit, n - j), args.k, from, inputs_, block + j * args.k, unit);
        }
        args.a = x + k;
        args.lda = inputs_;
        args.offsets = unit_offsets_.data();
        args.c = y + o;
        args.ldc = outputs_;
        args.accumulate = bias || k > 0;
        args.relu = activation_.relu && k + depth >= inputs_;
        args.slope = static_cast<T>(activation_.negative_slope);
        const auto tiles = [&](TileArgs<T> panel) {
          for (Index j = 0; j < n; j += unit) {
            panel.columns = std::min(unit, n - j);
            panel.b = block + j * args.k;
            hot_.tiles_rows(panel);
            panel.c += unit;
          }
        };
        run_rows(tiles, args, batch_, rows);
      }
    }
  }

  /// Panels of x or of the weights, which have a row of inputs each; copied where rows would meet in one cache set.
  template <class Tiles>
  void run_rows(Tiles&& tiles, const TileArgs<T>& args, Index count, T* copy) const {
    const auto copied = [&](TileArgs<T> panel) {
      hot_.copy_block({panel.rows, panel.k, panel.a, inputs_, 1, copy, row_pitch_, 1});
      panel.a = copy;
      panel.lda = row_pitch_;
      tiles(panel);
    };
    const T* const end = args.a + count * inputs_;
    const auto run = [&](const TileArgs<T>& panel) {
      if (turns_weights_) prefetch_behind(panel, end);
      if (collide_) {
        copied(panel);
      } else {
        tiles(panel);
      }
    };
    run_panels(hot_, run, args, count, inputs_);
  }

  /// The rows of the next panel, of which each would begin with a wait for a far cache otherwise.
  void prefetch_behind(const TileArgs<T>& panel, const T* end) const {
    constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));
    const T* row = panel.a + panel.rows * inputs_;
    for (Index r = 0; r < panel.rows && row < end; ++r, row += inputs_) {
      for (Index i = 0; i < panel.k; i += kLine) __builtin_prefetch(row + i, 0, 2);
    }
  }

  void bias_gradient(const BackwardArgs& args, Share part, const T* gradient) const {
    T* const out = static_cast<T*>(args.dbias) + part.begin;
    if (!args.accumulate) std::fill_n(out, part.size(), T(0));
    for (Index n = 0; n < batch_; ++n) {
      hot_.axpy(part.size(), T(1), gradient + n * gradient_pitch_ + part.begin, out);
    }
  }

  /// Copies rows of n elements to a block.
  void pack(Index rows, Index n, const T* from, Index ld, T* block) const {
    for (Index r = 0; r < rows; ++r) {
      std::memcpy(block + r * block_columns_, from + r * ld, static_cast<std::size_t>(n) * sizeof(T));
    }
  }

  /// The columns [i, i + n) of dw.
  void weights_gradient(const BackwardArgs& args, Index i, Index n, const T* shared, T* block) const {
    pack(batch_, n, static_cast<const T*>(args.x) + i, inputs_, block);
    TileArgs<T> tile{};
    tile.columns = n;
    tile.k = batch_;
    tile.a = shared + gradient_at_;
    tile.lda = gradient_pitch_;
    tile.b = block;
    tile.offsets = block_offsets_.data();
    tile.c = static_cast<T*>(args.dweights) + i;
    tile.ldc = inputs_;
    tile.accumulate = args.accumulate;
    run_panels(hot_, hot_.tiles_packed, tile, outputs_, 1);
  }

  /// The columns [i, i + n) of dx.
  void input_gradient(const BackwardArgs& args, Index i, Index n, const T* shared, T* block) const {
    for (Index o = 0; o < outputs_; o += block_outputs_) {
      const Index depth = std::min(block_outputs_, outputs_ - o);
      pack(depth, n, static_cast<const T*>(args.weights) + o * inputs_ + i, inputs_, block);
      TileArgs<T> tile{};
      tile.columns = n;
      tile.k = depth;
      tile.a = shared + gradient_at_ + o;
      tile.lda = gradient_pitch_;
      tile.b = block;
      tile.offsets = block_offsets_.data();
      tile.c = static_cast<T*>(args.dx) + i;
      tile.ldc = inputs_;
      tile.accumulate = o > 0;
      run_panels(hot_, hot_.tiles_rows, tile, batch_, gradient_pitch_);
    }
  }

  Engine& engine_;
  const HotTable<T>& hot_;
  Index batch_, inputs_, outputs_;
  Activation activation_;
  int threads_;
  /// With few examples the vectors lie along the inputs, else along the batch.
  bool by_dots_;
  /// With many, turning the weights is less work than turning x and y.
  bool turns_weights_;
  /// Whether so many weights of neighbouring outputs share a set of the first cache that they drive each other out, and
  /// are read often enough to be copied first.
  bool collide_;
  /// The batch in whole vectors.
  Index columns_;
  Index batch_pitch_, gradient_pitch_, block_columns_, block_outputs_;
  Index turned_x_at_, turned_y_at_, rows_at_, row_pitch_, rows_size_;
  Index gradient_at_, blocks_at_, block_size_, scratch_size_;
  std::vector<std::int32_t> batch_offsets_, block_offsets_, unit_offsets_;
};

/// With weights [inputs, num_output]. It is the mirror image of an inner product from num_output to inputs: what is
/// backward there is forward here.
template <class T>
class TransposedInnerProduct final : public Linear {
 public:
  TransposedInnerProduct(Engine& engine, const InnerProductShape& shape, Activation activation)
      : engine_(engine),
        hot_(table<T>(engine)),
        mirror_(engine, {shape.batch, shape.num_output, shape.inputs}, Activation{}),
        batch_(shape.batch),
        outputs_(shape.num_output),
        activation_(activation) {}

  std::size_t scratch_bytes() const override { return mirror_.scratch_bytes(); }

  void forward(const void* x, const void* weights, const void* bias, void* y, void* scratch) override {
    // The mirror has no activation, so it only reads its dy.
    mirror_.backward({nullptr, weights, nullptr, const_cast<void*>(x), y, nullptr, nullptr, false}, scratch);
    if (!bias && !activation_.relu) return;
    for_ranges(engine_.team, batch_, 1, 1 + kWorthWaking / std::max<Index>(1, outputs_), [&](Index begin, Index end) {
      for (Index n = begin; n < end; ++n) {
        T* const out = static_cast<T*>(y) + n * outputs_;
        if (bias) hot_.axpy(outputs_, T(1), static_cast<const T*>(bias), out);
        if (activation_.relu) hot_.relu(outputs_, static_cast<T>(activation_.negative_slope), out, out);
      }
    });
  }

  void backward(const BackwardArgs& args, void* scratch) override {
    constexpr Index kUnit = 64 / static_cast<Index>(sizeof(T));
    const Index worth = 1 + kWorthWaking / std::max<Index>(1, batch_);
    T* const dy = static_cast<T*>(args.dy);
    if (activation_.relu || args.dbias) {
      for_ranges(engine_.team, outputs_, kUnit, worth, [&](Index begin, Index end) {
        T* const dbias = args.dbias ? static_cast<T*>(args.dbias) + begin : nullptr;
        if (dbias && !args.accumulate) std::fill_n(dbias, end - begin, T(0));
        for (Index n = 0; n < batch_; ++n) {
          T* const row = dy + n * outputs_ + begin;
          if (activation_.relu) {
            const T* const y = static_cast<const T*>(args.y) + n * outputs_ + begin;
            hot_.relu_backward(end - begin, static_cast<T>(activation_.negative_slope), y, row, row);
          }
          if (dbias) hot_.axpy(end - begin, T(1), row, dbias);
        }
      });
    }
    if (args.dx) mirror_.forward(dy, args.weights, nullptr, args.dx, scratch);
    if (args.dweights) {
      mirror_.backward(
          {dy, nullptr, nullptr, const_cast<void*>(args.x), nullptr, args.dweights, nullptr, args.accumulate},
          scratch);
    }
  }

 private:
  Engine& engine_;
  const HotTable<T>& hot_;
  InnerProduct<T> mirror_;
  Index batch_, outputs_;
  Activation activation_;
};

}  // namespace

std::unique_ptr<Linear> make_inner_product(
    Engine& engine, DType dtype, const InnerProductShape& shape, Activation activation) {
  return with_type(dtype, [&](auto zero) -> std::unique_ptr<Linear> {
    using T = decltype(zero);
    if (shape.transposed) return std::make_unique<TransposedInnerProduct<T>>(engine, shape, activation);
    return std::make_unique<InnerProduct<T>>(engine, shape, activation);
  });
}

}  // namespace sparknet::kernels::cpu
