#include <cmath>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/philox.h"

namespace sparknet::kernels::cuda {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;       // sqrt(1 / 2)
constexpr double kRootTwoOverPi = 0.79788456080286535588;  // sqrt(2 / pi)
constexpr double kDensityOfZero = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double kGeluCubic = 0.044715;

/// The slope of x * gate, the gate being sigmoid(u) and `du` the slope of u. In this order 0 meets nothing infinite.
template <class T>
__device__ T gated_slope(T x, T gate, T du) {
  return gate + x * gate * (T(1) - gate) * du;
}
/// 2u where the gate is (1 + tanh(u)) / 2, which is sigmoid(2u); that keeps its digits where it is small.
template <class T>
__device__ T gelu_argument(T x) {
  return T(2 * kRootTwoOverPi) * (x + T(kGeluCubic) * x * x * x);
}

template <class T>
struct Numbers {
  T a, b, c;
  explicit Numbers(const Map& map) : a(static_cast<T>(map.a)), b(static_cast<T>(map.b)), c(static_cast<T>(map.c)) {}
};

/// One kernel for each kind, so that none asks for every element which it is.
template <class T, MapKind kKind, class A = Arithmetic<T>>
void map_as(Context& context, const Map& map, Index count, const T* x, T* y) {
  const Numbers<A> m(map);
  write_each(context, "map", count, y, [=] __device__(Index i) {
    if (kKind == MapKind::Constant) return m.a;
    const A v = x[i];
    A result = 0;
    switch (kKind) {
      case MapKind::Abs: result = std::abs(v); break;
      case MapKind::Affine: result = m.a * v + m.b; break;
      case MapKind::Clip: result = v < m.a ? m.a : (v > m.b ? m.b : v); break;
      case MapKind::Constant: break;
      case MapKind::Elu: result = v > A(0) ? v : m.a * std::expm1(v); break;
      case MapKind::Exp: result = std::exp(m.a * v + m.b); break;
      case MapKind::Gelu: result = A(0.5) * v * std::erfc(A(-kRootHalf) * v); break;
      case MapKind::GeluTanh: result = v * sigmoid(gelu_argument(v)); break;
      case MapKind::Log: result = m.c * std::log(m.a * v + m.b); break;
      case MapKind::Power:
        result = m.c == A(2) ? (m.a * v + m.b) * (m.a * v + m.b) : std::pow(m.a * v + m.b, m.c);
        break;
      case MapKind::Sigmoid: result = sigmoid(v); break;
      case MapKind::Softplus: result = (v < A(0) ? A(0) : v) + std::log1p(std::exp(-std::abs(v))); break;
      case MapKind::Step: result = v > m.a ? A(1) : A(0); break;
      case MapKind::Swish: result = v * sigmoid(m.a * v); break;
      case MapKind::Tanh: result = std::tanh(v); break;
    }
    return result;
  });
}

template <class T, MapKind kKind, class A = Arithmetic<T>>
void slope_as(Context& context, const Map& map, Index count, const T* operand, const T* dy, T* dx) {
  const Numbers<A> m(map);
  const bool of_y = map.a >= 0;  // Elu
  write_each(context, "gradient of a map", count, dx, [=] __device__(Index i) {
    if (kKind == MapKind::Affine || kKind == MapKind::Constant || kKind == MapKind::Step)
      return kKind == MapKind::Affine ? dy[i] * m.a : A(0);
    const A v = operand[i];
    A slope = 0;
    switch (kKind) {
      case MapKind::Affine:
      case MapKind::Constant:
      case MapKind::Step: break;
      case MapKind::Exp: slope = m.a * v; break;
      case MapKind::Sigmoid: slope = v * (A(1) - v); break;
      case MapKind::Softplus: slope = -std::expm1(-v); break;
      case MapKind::Tanh: slope = A(1) - v * v; break;
      case MapKind::Elu: slope = v > A(0) ? A(1) : (of_y ? v + m.a : m.a * std::exp(v)); break;
      case MapKind::Abs: slope = v > A(0) ? A(1) : (v < A(0) ? A(-1) : v); break;
      case MapKind::Clip: slope = v >= m.a && v <= m.b ? A(1) : A(0); break;
      case MapKind::Gelu:
        slope = A(0.5) * std::erfc(A(-kRootHalf) * v) + v * A(kDensityOfZero) * std::exp(A(-0.5) * v * v);
        break;
      case MapKind::GeluTanh: {
        // Beyond, nothing changes but that squares overflow.
        const A near = v < A(-32) ? A(-32) : (v > A(32) ? A(32) : v);
        const A du = A(2 * kRootTwoOverPi) * (A(1) + A(3 * kGeluCubic) * near * near);
        slope = gated_slope(near, sigmoid(gelu_argument(near)), du);
        break;
      }
      case MapKind::Log: slope = m.a * m.c / (m.a * v + m.b); break;
      case MapKind::Power:
        slope = m.c == A(2) ? A(2) * m.a * (m.a * v + m.b) : m.c * m.a * std::pow(m.a * v + m.b, m.c - A(1));
        break;
      case MapKind::Swish: slope = gated_slope(v, sigmoid(m.a * v), m.a); break;
    }
    return dy[i] * slope;
  });
}

/// Calls f(the kind as a type) for a kind.
template <MapKind kKind>
struct KindOf {
  static constexpr MapKind value = kKind;
};
template <class F>
void with_kind(MapKind kind, F&& f) {
  switch (kind) {
    case MapKind::Abs: return f(KindOf<MapKind::Abs>{});
    case MapKind::Affine: return f(KindOf<MapKind::Affine>{});
    case MapKind::Clip: return f(KindOf<MapKind::Clip>{});
    case MapKind::Constant: return f(KindOf<MapKind::Constant>{});
    case MapKind::Elu: return f(KindOf<MapKind::Elu>{});
    case MapKind::Exp: return f(KindOf<MapKind::Exp>{});
    case MapKind::Gelu: return f(KindOf<MapKind::Gelu>{});
    case MapKind::GeluTanh: return f(KindOf<MapKind::GeluTanh>{});
    case MapKind::Log: return f(KindOf<MapKind::Log>{});
    case MapKind::Power: return f(KindOf<MapKind::Power>{});
    case MapKind::Sigmoid: return f(KindOf<MapKind::Sigmoid>{});
    case MapKind::Softplus: return f(KindOf<MapKind::Softplus>{});
    case MapKind::Step: return f(KindOf<MapKind::Step>{});
    case MapKind::Swish: return f(KindOf<MapKind::Swish>{});
    case MapKind::Tanh: return f(KindOf<MapKind::Tanh>{});
  }
}

template <class T, class A = Arithmetic<T>>
void relu_of(Context& context, Index count, A slope, const T* x, T* y) {
  write_each(context, "ReLU", count, y, [=] __device__(Index i) { return rectified<A>(x[i], slope); });
}

template <class T, class A = Arithmetic<T>>
void relu_backward_of(Context& context, Index count, A slope, const T* gate, const T* dy, T* dx) {
  write_each(context, "gradient of a ReLU", count, dx, [=] __device__(Index i) {
    return gated<A>(gate[i], dy[i], slope);
  });
}

template <class From, class To>
void convert_all(Context& context, Index count, const From* x, To* y) {
  write_each(context, "conversion", count, y, [=] __device__(Index i) { return static_cast<float>(x[i]); });
}

template <class T, class A = Arithmetic<T>>
void axpy_of(Context& context, Index count, A a, const T* x, T* y) {
  write_each(context, "axpy", count, y, [=] __device__(Index i) { return y[i] + a * x[i]; });
}

template <class T>
void gate_rows_of(Context& context, Index rows, Index columns, const T* gate, const T* x, T* y) {
  for_each(context, "gated rows", rows * columns, [=] __device__(Index i) {
    const T open = gate[i / columns];
    y[i] = open == T(0) ? T(0) : open * x[i];
  });
}

template <class T, class A = Arithmetic<T>>
void dropout_of(
    Context& context, Index count, std::uint64_t threshold, A scale, std::uint64_t seed, std::uint64_t sequence,
    const T* x, T* y) {
  const auto drop = [=] __device__(Index block) {
    const FourWords words = philox(seed, sequence, static_cast<std::uint64_t>(block));
    const Index first = block * 4;
    for (Index j = 0; j < 4 && first + j < count; ++j)
      y[first + j] = static_cast<T>(words.word[j] < threshold ? x[first + j] * scale : A(0));
  };
  for_each(context, "dropout", (count + 3) / 4, drop, true);
}

void veto_of(Context& context, Index count, const Index* verdicts, Index* veto) {
  for_each(context, "verdicts", 1, [=] __device__(Index) {
    for (Index i = 0; i < count && *veto < 0; ++i)
      if (verdicts[i] >= 0) *veto = i;
  });
}

}  // namespace

void CudaBackend::relu(DType dtype, Index count, double negative_slope, const void* x, void* y) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    relu_of(context_, count, static_cast<Arithmetic<T>>(negative_slope), in<T>(x), out<T>(y));
  });
}

void CudaBackend::relu_backward(
    DType dtype, Index count, double negative_slope, const void* gate, const void* dy, void* dx) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    relu_backward_of(context_, count, static_cast<Arithmetic<T>>(negative_slope), in<T>(gate), in<T>(dy), out<T>(dx));
  });
}

void CudaBackend::map(DType dtype, const Map& map, Index count, const void* x, void* y) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    with_kind(map.kind, [&](auto kind) {
      map_as<T, decltype(kind)::value>(context_, map, count, in<T>(x), out<T>(y));
    });
  });
}

void CudaBackend::map_backward(
    DType dtype, const Map& map, Index count, const void* operand, const void* dy, void* dx) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    with_kind(map.kind, [&](auto kind) {
      slope_as<T, decltype(kind)::value>(context_, map, count, in<T>(operand), in<T>(dy), out<T>(dx));
    });
  });
}

void CudaBackend::gate_rows(DType dtype, Index rows, Index columns, const void* gate, const void* x, void* y) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    gate_rows_of(context_, rows, columns, in<T>(gate), in<T>(x), out<T>(y));
  });
}

void CudaBackend::dropout(
    DType dtype, Index count, double keep, double scale, std::uint64_t seed, std::uint64_t sequence, const void* x,
    void* y) {
  const double share = keep < 0 ? 0 : (keep > 1 ? 1 : keep);
  const auto threshold = static_cast<std::uint64_t>(std::llround(share * 4294967296.0));
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    dropout_of(context_, count, threshold, static_cast<Arithmetic<T>>(scale), seed, sequence, in<T>(x), out<T>(y));
  });
}

void CudaBackend::convert(DType from, DType to, Index count, const void* x, void* y) {
  if (from == DType::BF16)
    convert_all(context_, count, in<Bf16>(x), out<float>(y));
  else if (to == DType::BF16)
    convert_all(context_, count, in<float>(x), out<Bf16>(y));
  else
    copy(y, x, static_cast<std::size_t>(count) * size_of(to));
}

void CudaBackend::axpy(DType dtype, Index count, double a, const void* x, void* y) {
  with_blob_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    axpy_of(context_, count, static_cast<Arithmetic<T>>(a), in<T>(x), out<T>(y));
  });
}

void CudaBackend::veto(int count, const Index* verdicts, Index* veto) {
  veto_of(context_, count, verdicts, veto);
}

}  // namespace sparknet::kernels::cuda
