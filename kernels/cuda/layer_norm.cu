#include "kernels/cuda/backend.h"
#include "kernels/cuda/channel_passes.h"

namespace sparknet::kernels::cuda {
namespace {

/// What backward needs of a row: h = (x - mean) * factor, and how much faster the deviation grows than the divisor.
struct RowState {
  double mean, factor, ratio;
};

__device__ RowState state_of(double mean, double variance, NormDivisor divisor, double eps) {
  if (divisor == NormDivisor::One) return {mean, 1, 0};
  if (divisor == NormDivisor::Variance) return {mean, 1 / std::sqrt(variance + eps), 1};
  const double deviation = std::sqrt(variance), divided_by = deviation + eps;
  return {mean, 1 / divided_by, deviation > 0 ? divided_by / deviation : 1};
}

template <class T>
void forward_of(
    Context& context, const LayerNormShape& shape, const T* x, const T* gamma, const T* beta, T* y, RowState* state) {
  const Index size = shape.size;
  const NormDivisor divisor = shape.divisor;
  const double eps = shape.eps, n = static_cast<double>(size);
  for_rows(context, "layer normalisation", shape.rows, size, [=] __device__(const Row& block, Index row) {
    const T* const from = x + row * size;
    T* const to = y + row * size;
    // From a number of the row's own, so that squares far from 0 keep their digits.
    const double near = size > 0 ? static_cast<double>(from[0]) : 0;
    const Pair sums = block.reduce(
        size,
        Pair{0, 0},
        [&](Index i) {
          const double distance = static_cast<double>(from[i]) - near;
          return Pair{distance, distance * distance};
        },
        AddPairs{});
    const double distance = sums.first / n, rest = sums.second / n - distance * distance;
    const RowState now = state_of(near + distance, rest < 0 ? 0 : rest, divisor, eps);
    block.once([&] { state[row] = now; });
    const T mean = static_cast<T>(now.mean), factor = static_cast<T>(now.factor);
    block.each(size, [&](Index i) {
      const T h = (from[i] - mean) * factor;
      to[i] = gamma ? h * gamma[i] + beta[i] : h;
    });
  });
}

template <class T>
void learned_backward(
    Context& context, const LayerNormShape& shape, const LayerNormGradients& args, const RowState* state) {
  const Index size = shape.size;
  const T *const x = static_cast<const T*>(args.operand), *const dy = static_cast<const T*>(args.dy);
  T *const dgamma = static_cast<T*>(args.dgamma), *const dbeta = static_cast<T*>(args.dbeta);
  const bool accumulate = args.accumulate;
  reduce_channels(
      context,
      "gradient of gamma and beta",
      ChannelShape{shape.rows, size, 1},
      Pair{0, 0},
      [=] __device__(Index, Index i) {
        const RowState before = state[i / size];
        const T h = (x[i] - static_cast<T>(before.mean)) * static_cast<T>(before.factor);
        return Pair{static_cast<double>(dy[i] * h), static_cast<double>(dy[i])};
      },
      AddPairs{},
      [=] __device__(Index c, Pair sums) {
        if (dgamma) dgamma[c] = static_cast<T>((accumulate ? static_cast<double>(dgamma[c]) : 0) + sums.first);
        if (dbeta) dbeta[c] = static_cast<T>((accumulate ? static_cast<double>(dbeta[c]) : 0) + sums.second);
      });
}

template <class T>
void backward_of(Context& context, const LayerNormShape& shape, const LayerNormGradients& args, const RowState* state) {
  const Index size = shape.size;
  const double n = static_cast<double>(size);
  // Where only the mean is taken away, the operand is not there.
  const bool plain = shape.divisor == NormDivisor::One && !shape.affine, affine = shape.affine;
  const T *const operand = static_cast<const T*>(args.operand), *const top = static_cast<const T*>(args.dy);
  const T* const gamma = affine ? static_cast<const T*>(args.gamma) : nullptr;
  T* const bottom = static_cast<T*>(args.dx);
  for_rows(context, "gradient of a layer normalisation", shape.rows, size, [=] __device__(const Row& block, Index row) {
    const RowState before = state[row];
    const T shift = affine ? static_cast<T>(before.mean) : T(0), factor = affine ? static_cast<T>(before.factor) : T(1);
    const T* const v = plain ? nullptr : operand + row * size;
    const T* const dy = top + row * size;
    T* const dx = bottom + row * size;
    const auto h = [&](Index i) { return v ? (v[i] - shift) * factor : T(0); };
    const auto g = [&](Index i) { return gamma ? dy[i] * gamma[i] : dy[i]; };
    const Pair sums = block.reduce(
        size,
        Pair{0, 0},
        [&](Index i) {
          const double now = static_cast<double>(g(i));
          return Pair{now, now * static_cast<double>(h(i))};
        },
        AddPairs{});
    const T mean = static_cast<T>(sums.first / n), slope = static_cast<T>(sums.second / n * before.ratio);
    const T scale = plain ? T(1) : static_cast<T>(before.factor);
    block.each(size, [&](Index i) { dx[i] = scale * (g(i) - mean - slope * h(i)); });
  });
}

template <class T>
class LayerNormPlan final : public LayerNorm {
 public:
  LayerNormPlan(Context& context, const LayerNormShape& shape) : context_(context), shape_(shape) {}

  std::size_t state_bytes() const override { return static_cast<std::size_t>(shape_.rows) * sizeof(RowState); }
  std::size_t scratch_bytes() const override { return 0; }

  void forward(const void* x, const void* gamma, const void* beta, void* y, void* state) override {
    forward_of(
        context_,
        shape_,
        static_cast<const T*>(x),
        static_cast<const T*>(gamma),
        static_cast<const T*>(beta),
        static_cast<T*>(y),
        static_cast<RowState*>(state));
  }
  void backward(const LayerNormGradients& args, const void* state, void*) override {
    const auto* const rows = static_cast<const RowState*>(state);
    // First, as dx may be dy.
    if (args.dgamma || args.dbeta) learned_backward<T>(context_, shape_, args, rows);
    if (args.dx) backward_of<T>(context_, shape_, args, rows);
  }

 private:
  Context& context_;
  LayerNormShape shape_;
};

}  // namespace

std::unique_ptr<LayerNorm> CudaBackend::layer_norm(DType dtype, const LayerNormShape& shape) {
  std::unique_ptr<LayerNorm> made;
  with_type(dtype, [&](auto zero) { made = std::make_unique<LayerNormPlan<decltype(zero)>>(context_, shape); });
  return made;
}

}  // namespace sparknet::kernels::cuda
