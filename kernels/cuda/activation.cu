#include "kernels/cuda/activation.h"

#include <algorithm>

#include "kernels/cuda/launch.h"

namespace sparknet::kernels::cuda {
namespace {

/// N elements that are read and written at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

/// The first n of the N elements at `from`.
template <int N, class T>
__device__ Pack<T, N> load(const T* from, Index n) {
  if (n >= N) return *reinterpret_cast<const Pack<T, N>*>(from);
  Pack<T, N> pack{};
  for (int j = 0; j < N; ++j) {  // of a fixed length, so that the pack stays in registers
    if (j < n) pack.at[j] = from[j];
  }
  return pack;
}

template <int N, class T>
__device__ void store(const Pack<T, N>& pack, Index n, T* to) {
  if (n >= N) {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  } else {
    for (int j = 0; j < N; ++j) {
      if (j < n) to[j] = pack.at[j];
    }
  }
}

template <class T>
__device__ T relu_of(T x, T slope) {
  return x < T(0) ? (slope == T(0) ? T(0) : slope * x) : x;
}

/// The gradient dy passed through the activation that made y.
template <class T>
__device__ T gate_of(T y, T dy, T slope) {
  return y > T(0) ? dy : (slope == T(0) ? T(0) : slope * dy);
}

/// Calls f(an integer that counts to `count`, a Pack type): 32-bit divisions take a fraction of the time of longer
/// ones.
template <class T, class F>
void with_sizes(Index count, bool packs, F&& f) {
  constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  const bool narrow = count < (Index{1} << 31);
  if (narrow && packs) {
    f(std::uint32_t{}, Pack<T, kSize>{});
  } else if (narrow) {
    f(std::uint32_t{}, Pack<T, 1>{});
  } else if (packs) {
    f(Index{}, Pack<T, kSize>{});
  } else {
    f(Index{}, Pack<T, 1>{});
  }
}

/// Whether arrays may be read in packs from their start on.
bool aligned(const void* a, const void* b = nullptr) {
  return (reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b)) % 16 == 0;
}

Index quotient_up(Index a, Index b) {
  return (a + b - 1) / b;
}

template <class I, int N, class T>
void finish(
    Context& context, const ChannelShape& shape, const T* bias, bool relu, T slope, T* y, Pack<T, N> /*the type*/) {
  const Index count = shape.outer * shape.channels * shape.inner;
  const I channels = static_cast<I>(shape.channels), inner = static_cast<I>(shape.inner);
  for_each(context, "bias and activation", quotient_up(count, N), [=] __device__(Index i) {
    const Index first = i * N, n = count - first;
    Pack<T, N> pack = load<N>(y + first, n);
    if (bias) {
      I plane = static_cast<I>(first) / inner;
      I pixel = static_cast<I>(first) - plane * inner, channel = plane % channels;
      for (int j = 0; j < N; ++j) {
        pack.at[j] += bias[channel];
        if (++pixel == inner) {
          pixel = 0;
          if (++channel == channels) channel = 0;
        }
      }
    }
    if (relu) {
      for (int j = 0; j < N; ++j) pack.at[j] = relu_of(pack.at[j], slope);
    }
    store(pack, n, y + first);
  });
}

template <int N, class T>
void gate(Context& context, Index count, const T* y, T slope, T* dy, Pack<T, N> /*the type*/) {
  for_each(context, "gradient of an activation", quotient_up(count, N), [=] __device__(Index i) {
    const Index first = i * N, n = count - first;
    const Pack<T, N> out = load<N>(y + first, n);
    Pack<T, N> gradient = load<N>(static_cast<const T*>(dy) + first, n);
    for (int j = 0; j < N; ++j) gradient.at[j] = gate_of(out.at[j], gradient.at[j], slope);
    store(gradient, n, dy + first);
  });
}

/// Where gradients of biases are added up.
template <class T>
struct BiasGradient {
  T* sums;
  bool accumulate;

  __device__ void put(Index channel, double sum) const {
    sums[channel] = static_cast<T>(accumulate ? static_cast<double>(sums[channel]) + sum : sum);
  }
};

/// Adds N elements of dy up, which it first gates in place unless y is null.
template <int N, class T>
__device__ double gated_sum(const T* y, T slope, T* dy) {
  Pack<T, N> gradient = load<N>(static_cast<const T*>(dy), N);
  if (y) {
    const Pack<T, N> out = load<N>(y, N);
    for (int j = 0; j < N; ++j) gradient.at[j] = gate_of(out.at[j], gradient.at[j], slope);
    store(gradient, N, dy);
  }
  double sum = 0;
  for (int j = 0; j < N; ++j) sum += static_cast<double>(gradient.at[j]);
  return sum;
}

/// A block of threads for a channel and a share of all its pixels.
template <class I, int N, class T>
void sum_planes(
    Context& context, const ChannelShape& shape, Index parts, const T* y, T slope, T* dy, BiasGradient<T> gradient,
    double* partial, Pack<T, N> /*the type*/) {
  const Index channels = shape.channels, inner = shape.inner, packs = inner / N, count = shape.outer * packs;
  const Index part = quotient_up(count, parts);
  for_rows(context, "gradient of a bias", parts * channels, part, [=] __device__(const Row& block, Index row) {
    const Index channel = row % channels, begin = row / channels * part;
    const Index end = begin + part < count ? begin + part : count;
    const double sum = block.sum<double>(begin < end ? end - begin : 0, [&](Index i) {
      const I at = static_cast<I>(begin + i), image = at / static_cast<I>(packs);
      const I pack = at - image * static_cast<I>(packs);
      const Index first = (static_cast<Index>(image) * channels + channel) * inner + static_cast<Index>(pack) * N;
      return gated_sum<N>(y ? y + first : nullptr, slope, dy + first);
    });
    block.once([&] {
      if (parts == 1) {
        gradient.put(channel, sum);
      } else {
        partial[row] = sum;
      }
    });
  });
}

/// A thread for each pixel of an image and a share of the images.
template <class T>
void sum_columns(
    Context& context, const ChannelShape& shape, Index parts, const T* y, T slope, T* dy, BiasGradient<T> gradient,
    double* partial) {
  const Index columns = shape.channels * shape.inner, count = shape.outer * columns, step = parts * columns;
  const bool whole = parts == 1 && shape.inner == 1;
  for_each(context, "gradient of a bias", step, [=] __device__(Index column) {
    double sum = 0;
    for (Index i = column; i < count; i += step) sum += gated_sum<1>(y ? y + i : nullptr, slope, dy + i);
    if (whole) {
      gradient.put(column, sum);
    } else {
      partial[column] = sum;
    }
  });
}

/// partial[parts][channels][inner]
template <class T>
void add_parts(
    Context& context, Index parts, Index channels, Index inner, const double* partial, BiasGradient<T> gradient) {
  for_rows(context, "gradient of a bias", channels, parts * inner, [=] __device__(const Row& block, Index channel) {
    const double sum = block.sum<double>(parts * inner, [&](Index i) {
      return partial[(i / inner * channels + channel) * inner + i % inner];
    });
    block.once([&] { gradient.put(channel, sum); });
  });
}

/// Pixels from which on a warp has something to do on a plane.
constexpr Index kWidePlane = 32;
/// What is worth a block of threads of its own, and a thread.
constexpr Index kBlockElements = 4096, kThreadImages = 8;

}  // namespace

Epilogue::Epilogue(Context& context, DType dtype, const ChannelShape& shape, Activation activation)
    : context_(context),
      dtype_(dtype),
      shape_(shape),
      relu_(activation.relu),
      slope_(activation.negative_slope),
      by_planes_(shape.inner >= kWidePlane || (shape.inner > 1 && shape.outer < kThreadImages)) {
  const Index processors = context.multiprocessors();
  // More blocks than run at once, or the last ones would leave most of the GPU idle.
  const Index blocks = 32 * processors, threads = 1024 * processors;
  const Index sums = std::max<Index>(shape.channels * (by_planes_ ? 1 : shape.inner), 1);
  const Index wanted = quotient_up(by_planes_ ? blocks : threads, sums);
  const Index most = by_planes_ ? shape.outer * shape.inner / kBlockElements : shape.outer / kThreadImages;
  parts_ = std::max<Index>(std::min(wanted, most), 1);
  whole_ = parts_ == 1 && (by_planes_ || shape.inner == 1);
}

std::size_t Epilogue::scratch_bytes() const {
  const Index sums = parts_ * shape_.channels * (by_planes_ ? 1 : shape_.inner);
  return whole_ ? 0 : static_cast<std::size_t>(sums) * sizeof(double);
}

void Epilogue::forward(const void* bias, void* y) const {
  if (!bias && !relu_) return;
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    with_sizes<T>(shape_.outer * shape_.channels * shape_.inner, aligned(y), [&](auto counter, auto pack) {
      finish<decltype(counter)>(
          context_,
          shape_,
          static_cast<const T*>(bias),
          relu_,
          static_cast<T>(slope_),
          static_cast<T*>(y),
          pack);
    });
  });
}

void Epilogue::backward(const void* y, void* dy, void* dbias, bool accumulate, void* scratch) const {
  if (!relu_ && !dbias) return;
  if (!relu_) y = nullptr;
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    const T slope = static_cast<T>(slope_);
    const T* const out = static_cast<const T*>(y);
    T* const gradient = static_cast<T*>(dy);
    if (!dbias) {
      const Index count = shape_.outer * shape_.channels * shape_.inner;
      with_sizes<T>(0, aligned(y, dy), [&](auto, auto pack) { gate(context_, count, out, slope, gradient, pack); });
      return;
    }
    const BiasGradient<T> sums{static_cast<T*>(dbias), accumulate};
    double* const partial = static_cast<double*>(scratch);
    if (by_planes_) {
      const bool packs = aligned(y, dy) && shape_.inner * static_cast<Index>(sizeof(T)) % 16 == 0;
      with_sizes<T>(shape_.outer * shape_.inner, packs, [&](auto counter, auto pack) {
        sum_planes<decltype(counter)>(context_, shape_, parts_, out, slope, gradient, sums, partial, pack);
      });
    } else {
      sum_columns(context_, shape_, parts_, out, slope, gradient, sums, partial);
    }
    if (!whole_) add_parts(context_, parts_, shape_.channels, by_planes_ ? 1 : shape_.inner, partial, sums);
  });
}

}  // namespace sparknet::kernels::cuda
