#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu/channels.h"
#include "kernels/cpu/eltwise.h"
#include "kernels/cpu/embed.h"
#include "kernels/cpu/engine.h"
#include "kernels/cpu/im2col.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/loss.h"
#include "kernels/cpu/lstm.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/move.h"
#include "kernels/cpu/normalize.h"
#include "kernels/cpu/places.h"
#include "kernels/cpu/ranking.h"
#include "kernels/cpu/reduce.h"
#include "kernels/cpu/softmax.h"

namespace sparknet::kernels {
namespace cpu {
namespace {

/// Borders between threads, in elements: whole cache lines and whole blocks of random words.
constexpr Index kUnit = 64;

template <class T>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
T* out(void* p) {
  return static_cast<T*>(p);
}

class HostUpload final : public Upload {
 public:
  explicit HostUpload(std::size_t bytes) : buffer_(bytes) {}
  void* buffer() override { return buffer_.data(); }
  void send(void* to, const Index* veto) override {
    if (*veto < 0) std::copy(buffer_.begin(), buffer_.end(), static_cast<unsigned char*>(to));
  }

 private:
  std::vector<unsigned char> buffer_;
};

class HostDownload final : public Download {
 public:
  HostDownload(std::size_t bytes, int depth) : blocks_(static_cast<std::size_t>(depth), Block(bytes)) {}
  void start(const void* from) override {
    Block& block = blocks_[started_++ % blocks_.size()];
    std::copy_n(static_cast<const unsigned char*>(from), block.size(), block.begin());
  }
  const void* finish() override { return blocks_[finished_++ % blocks_.size()].data(); }

 private:
  using Block = std::vector<unsigned char>;
  std::vector<Block> blocks_;
  std::size_t started_ = 0, finished_ = 0;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Isa isa, Winograd winograd)
      : engine_(threads, hot_for(isa), winograd),
        description_(
            std::string("cpu ") + isa_name(isa) + ", " + std::to_string(threads) +
            (threads == 1 ? " thread" : " threads")) {}

  bool on_host() const override { return true; }
  void read(void* host, const void* memory, std::size_t bytes) override { copy(host, memory, bytes); }
  void write(void* memory, const void* host, std::size_t bytes) override { copy(memory, host, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0 && to != from) std::memmove(to, from, bytes);
  }
  void wait() override {}
  std::unique_ptr<Upload> upload(std::size_t bytes) override { return std::make_unique<HostUpload>(bytes); }
  std::unique_ptr<Download> download(std::size_t bytes, int depth) override {
    return std::make_unique<HostDownload>(bytes, depth);
  }

  int threads() const override { return engine_.team.size(); }
  const char* description() const override { return description_.c_str(); }

  /// From calloc, whose pages of a large block take up no memory until they are written: the gradients of a net that
  /// only gives its weights away never are. Where the block began is written before what is given.
  void* allocate(std::size_t bytes) override {
    constexpr std::size_t kAlignment = 64;
    static_assert(alignof(std::max_align_t) >= sizeof(void*));
    if (bytes > static_cast<std::size_t>(-1) - 2 * kAlignment) throw std::bad_alloc();
    void* const block = std::calloc((bytes + 2 * kAlignment - 1) / kAlignment, kAlignment);
    if (!block) throw std::bad_alloc();
    const auto begin = reinterpret_cast<std::uintptr_t>(block);
    void** const memory = reinterpret_cast<void**>((begin + kAlignment) / kAlignment * kAlignment);
    memory[-1] = block;
    return memory;
  }
  void release(void* memory) noexcept override { std::free(static_cast<void**>(memory)[-1]); }

  std::unique_ptr<Linear> convolution(DType dtype, const ConvolutionShape& shape, Activation activation) override {
    return make_convolution(engine_, dtype, shape, activation);
  }
  std::unique_ptr<PreparedLinear> prepared_convolution(
      DType dtype, const ConvolutionShape& shape, Activation activation) override {
    return make_prepared_convolution(engine_, dtype, shape, activation);
  }
  std::unique_ptr<Linear> convolution_nd(DType dtype, const ConvolutionNdShape& shape, Activation activation) override {
    return make_convolution_nd(engine_, dtype, shape, activation);
  }
  std::unique_ptr<Linear> deconvolution(DType dtype, const ConvolutionShape& shape, Activation activation) override {
    return make_deconvolution(engine_, dtype, shape, activation);
  }
  std::unique_ptr<Linear> deconvolution_nd(
      DType dtype, const ConvolutionNdShape& shape, Activation activation) override {
    return make_deconvolution_nd(engine_, dtype, shape, activation);
  }
  std::unique_ptr<Linear> inner_product(DType dtype, const InnerProductShape& shape, Activation activation) override {
    return make_inner_product(engine_, dtype, shape, activation);
  }
  std::unique_ptr<Pooling> pooling(DType dtype, const PoolingShape& shape, PoolMethod method) override {
    return make_pooling(engine_, dtype, shape, method);
  }
  std::unique_ptr<Lrn> lrn(DType dtype, const LrnShape& shape) override { return make_lrn(engine_, dtype, shape); }
  std::unique_ptr<Channels> channels(DType dtype, const ChannelShape& shape) override {
    return make_channels(engine_, dtype, shape);
  }
  std::unique_ptr<BatchNorm> batch_norm(DType dtype, const ChannelShape& shape, double eps) override {
    return make_batch_norm(engine_, dtype, shape, eps);
  }
  bool scales_batch_norm(const ChannelShape& shape) const override { return cpu::scales_batch_norm(shape); }
  std::unique_ptr<ScaledBatchNorm> scaled_batch_norm(
      DType dtype, const ChannelShape& shape, double eps, Activation activation) override {
    return make_scaled_batch_norm(engine_, dtype, shape, eps, activation);
  }
  std::unique_ptr<LayerNorm> layer_norm(DType dtype, const LayerNormShape& shape) override {
    return make_layer_norm(engine_, dtype, shape);
  }

  void relu(DType dtype, Index count, double negative_slope, const void* x, void* y) override {
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      hot.relu(n, static_cast<T>(negative_slope), in<T>(x) + at, out<T>(y) + at);
    });
  }

  void relu_backward(
      DType dtype, Index count, double negative_slope, const void* gate, const void* dy, void* dx) override {
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      hot.relu_backward(n, static_cast<T>(negative_slope), in<T>(gate) + at, in<T>(dy) + at, out<T>(dx) + at);
    });
  }

  void map(DType dtype, const Map& map, Index count, const void* x, void* y) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      for_ranges(engine_.team, count, kUnit, map_worth(map.kind), [&](Index begin, Index end) {
        cpu::map(map, end - begin, in<T>(x) + begin, out<T>(y) + begin);
      });
    });
  }

  void map_backward(DType dtype, const Map& map, Index count, const void* operand, const void* dy, void* dx) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      for_ranges(engine_.team, count, kUnit, map_worth(map.kind), [&](Index begin, Index end) {
        const T* const from = operand ? in<T>(operand) + begin : nullptr;
        cpu::map_backward(map, end - begin, from, in<T>(dy) + begin, out<T>(dx) + begin);
      });
    });
  }

  void dropout(
      DType dtype, Index count, double keep, double scale, std::uint64_t seed, std::uint64_t sequence, const void* x,
      void* y) override {
    const double words = std::clamp(keep, 0.0, 1.0) * 4294967296.0;
    const DropoutKey key{seed, sequence, static_cast<std::uint64_t>(std::llround(words))};
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      hot.dropout(key, at, n, static_cast<T>(scale), in<T>(x) + at, out<T>(y) + at);
    });
  }

  void softmax(DType dtype, const SoftmaxShape& shape, const void* x, void* y) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::softmax(engine_, shape, in<T>(x), out<T>(y));
    });
  }

  void softmax_backward(DType dtype, const SoftmaxShape& shape, const void* y, const void* dy, void* dx) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::softmax_backward(engine_, shape, in<T>(y), in<T>(dy), out<T>(dx));
    });
  }

  void loss(DType dtype, const LossPass& pass, void* y, LossState* state, Index* verdict) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::loss(engine_, pass, out<T>(y), state, verdict);
    });
  }

  void loss_backward(
      DType dtype, const LossPass& pass, double factor, const void* dy, const LossState* state, void* dx) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::loss_backward(engine_, pass, factor, in<T>(dy), state, out<T>(dx));
    });
  }

  void accuracy(DType dtype, const AccuracyPass& pass, Index* verdict) override {
    *verdict = with_type(dtype, [&](auto zero) { return cpu::accuracy<decltype(zero)>(pass); });
  }

  void arg_max(DType dtype, const ArgMaxShape& shape, const void* x, void* y) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::arg_max(shape, in<T>(x), out<T>(y));
    });
  }

  void eltwise(
      DType dtype, EltwiseOp op, Index count, int inputs, const void* const* x, const double* coeff,
      Activation activation, void* y) override {
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      cpu::eltwise(hot, op, at, n, inputs, x, coeff, activation, out<T>(y));
    });
  }

  void eltwise_backward(
      DType dtype, EltwiseOp op, Index count, int inputs, const void* const* x, const double* coeff, int input,
      const void* dy, void* dx) override {
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      cpu::eltwise_backward(hot, op, at, n, inputs, x, coeff, input, in<T>(dy), out<T>(dx));
    });
  }

  void copy_box(DType dtype, const Box& box, const void* from, void* to) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::copy_box(engine_.team, box, in<T>(from), out<T>(to));
    });
  }

  void fill_box(DType dtype, const Box& box, double value, void* to) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      Box repeated = box;
      std::fill_n(repeated.from_step, repeated.rank, Index{0});
      const T element = static_cast<T>(value);
      cpu::copy_box(engine_.team, repeated, &element, out<T>(to));
    });
  }

  void sum_box(DType dtype, const Box& box, const void* from, void* to) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::sum_box(engine_.team, box, in<T>(from), out<T>(to));
    });
  }

  void copy_rows(
      Index rows, std::size_t row_bytes, const void* from, std::size_t from_stride, void* to,
      std::size_t to_stride) override {
    Box box;
    box.add(rows, static_cast<Index>(from_stride), static_cast<Index>(to_stride));
    box.add(static_cast<Index>(row_bytes), 1, 1);
    cpu::copy_box(engine_.team, box, in<unsigned char>(from), out<unsigned char>(to));
  }

  void reduce(DType dtype, ReduceOp op, Index outer, Index inner, double scale, const void* x, void* y) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::reduce(engine_, op, outer, inner, scale, in<T>(x), out<T>(y));
    });
  }

  void reduce_backward(
      DType dtype, ReduceOp op, Index outer, Index inner, double scale, const void* x, const void* dy,
      void* dx) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::reduce_backward(engine_, op, outer, inner, scale, in<T>(x), in<T>(dy), out<T>(dx));
    });
  }

  void embed(
      DType dtype, const EmbedShape& shape, const void* indices, const void* weights, const void* bias, void* y,
      Index* verdict) override {
    *verdict = with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      return cpu::embed(engine_, shape, in<T>(indices), in<T>(weights), in<T>(bias), out<T>(y));
    });
  }

  void embed_backward(
      DType dtype, const EmbedShape& shape, const void* indices, const void* dy, void* dweights, void* dbias,
      bool accumulate) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::embed_backward(engine_, shape, in<T>(indices), in<T>(dy), out<T>(dweights), out<T>(dbias), accumulate);
    });
  }

  void read_places(DType dtype, Index count, Index limit, const void* indices, Index* places, Index* verdict) override {
    *verdict = with_type(dtype, [&](auto zero) {
      return cpu::read_places(count, limit, in<decltype(zero)>(indices), places);
    });
  }

  void select(DType dtype, Index items, const void* selector, Index* places, Index* where, void* kept) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::select(items, in<T>(selector), places, where, out<T>(kept));
    });
  }

  void gather_rows(
      DType dtype, Index rows, Index columns, const Index* places, const void* from, double pad, void* to) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::gather_rows(engine_, rows, columns, places, in<T>(from), static_cast<T>(pad), out<T>(to));
    });
  }

  void scatter_rows(
      DType dtype, Index count, Index columns, const Index* places, const void* from, Index rows, void* to) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::scatter_rows(engine_, count, columns, places, in<T>(from), rows, out<T>(to));
    });
  }

  void lstm(DType dtype, const LstmShape& shape, const LstmForward& args) override {
    with_type(dtype, [&](auto zero) { cpu::lstm<decltype(zero)>(engine_, shape, args); });
  }

  void lstm_backward(DType dtype, const LstmShape& shape, const LstmBackward& args) override {
    with_type(dtype, [&](auto zero) { cpu::lstm_backward<decltype(zero)>(engine_, shape, args); });
  }

  void gate_rows(DType dtype, Index rows, Index columns, const void* gate, const void* x, void* y) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::gate_rows(engine_, rows, columns, in<T>(gate), in<T>(x), out<T>(y));
    });
  }

  void im2col(DType dtype, const WindowShape& shape, const void* x, void* columns) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::im2col(engine_, shape, in<T>(x), out<T>(columns));
    });
  }

  void col2im(DType dtype, const WindowShape& shape, const void* columns, void* x) override {
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::col2im(engine_, shape, in<T>(columns), out<T>(x));
    });
  }

  void axpy(DType dtype, Index count, double a, const void* x, void* y) override {
    ranges(dtype, count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      hot.axpy(n, static_cast<T>(a), in<T>(x) + at, out<T>(y) + at);
    });
  }

  void add_sum(DType dtype, Index count, double factor, const void* x, double* total) override {
    with_type(dtype, [&](auto zero) {
      const auto* const numbers = in<decltype(zero)>(x);
      double sum = 0;
      for (Index i = 0; i < count; ++i) sum += static_cast<double>(numbers[i]);
      *total += factor * sum;
    });
  }

  void add_squares(DType dtype, Index count, const void* x, double* total) override {
    const int parts = sum_parts(count, kWorthWaking);
    double squares[kMostSumParts];
    with_type(dtype, [&](auto zero) {
      using T = decltype(zero);
      for_parts(engine_.team, count, parts, [&](Index part, Index begin, Index end) {
        squares[part] = table<T>(engine_).sum_squares(end - begin, in<T>(x) + begin);
      });
    });
    double sum = 0;
    for (int part = 0; part < parts; ++part) sum += squares[part];
    *total += sum;
  }

  void clip_factor(double limit, double* squares) override {
    const double length = std::sqrt(*squares);
    *squares = length > limit ? limit / length : 1;
  }

  void veto(int count, const Index* verdicts, Index* veto) override {
    for (int i = 0; i < count && *veto < 0; ++i)
      if (verdicts[i] >= 0) *veto = i;
  }

  void update(DType dtype, const UpdatePass& pass) override {
    if (pass.veto && *pass.veto >= 0) return;
    const double gradient_scale = pass.gradient_scale * (pass.gradient_factor ? *pass.gradient_factor : 1);
    ranges(dtype, pass.count, [&](auto zero, const auto& hot, Index at, Index n) {
      using T = decltype(zero);
      const UpdateRange<T> range{
          n,
          out<T>(pass.weights) + at,
          in<T>(pass.gradient) + at,
          out<T>(pass.history) + at,
          pass.history2 ? out<T>(pass.history2) + at : nullptr,
          static_cast<T>(pass.rate),
          static_cast<T>(pass.decay),
          static_cast<T>(gradient_scale),
          pass.l1,
          static_cast<T>(pass.momentum),
          static_cast<T>(pass.gain),
          static_cast<T>(pass.momentum2),
          static_cast<T>(pass.gain2),
          static_cast<T>(pass.delta),
          static_cast<T>(pass.shrink)};
      switch (pass.kind) {
        case UpdateKind::Sgd: return hot.sgd(range);
        case UpdateKind::Nesterov: return hot.nesterov(range);
        case UpdateKind::RmsProp: return hot.rmsprop(range);
        case UpdateKind::AdaDelta: return hot.adadelta(range);
        case UpdateKind::Adam: return hot.adam(range);
      }
    });
  }

 private:
  /// Calls f(zero of the type, table, first element, count) on pieces of an array.
  template <class F>
  void ranges(DType dtype, Index count, F&& f) {
    with_type(dtype, [&](auto zero) {
      const auto& hot = table<decltype(zero)>(engine_);
      for_ranges(engine_.team, count, kUnit, kWorthWaking, [&](Index begin, Index end) {
        f(zero, hot, begin, end - begin);
      });
    });
  }

  Engine engine_;
  std::string description_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(int threads, Isa isa, Winograd winograd) {
  if (isa > best_isa()) throw std::invalid_argument("this machine does not run " + std::string(cpu::isa_name(isa)));
  return std::make_unique<cpu::CpuBackend>(threads, isa, winograd);
}

}  // namespace sparknet::kernels
