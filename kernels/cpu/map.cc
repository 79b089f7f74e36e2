#include "kernels/cpu/map.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/engine.h"
#include "kernels/cpu/fast_math.h"

namespace sparknet::kernels::cpu {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;       // sqrt(1 / 2)
constexpr double kRootTwoOverPi = 0.79788456080286535588;  // sqrt(2 / pi)
constexpr double kDensityOfZero = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double kGeluCubic = 0.044715;

/// The slope of x * gate, the gate being sigmoid(u) and `du` the slope of u. In this order 0 meets nothing infinite.
template <class T>
T gated_slope(T x, T gate, T du) {
  return gate + x * gate * (T(1) - gate) * du;
}

/// 2u where the gate is (1 + tanh(u)) / 2, which is sigmoid(2u); that keeps its digits where it is small.
template <class T>
T gelu_argument(T x) {
  return T(2 * kRootTwoOverPi) * (x + T(kGeluCubic) * x * x * x);
}

}  // namespace

Index map_worth(MapKind kind) {
  switch (kind) {
    case MapKind::Abs:
    case MapKind::Affine:
    case MapKind::Clip:
    case MapKind::Constant:
    case MapKind::Step: return kWorthWaking;
    default: return 4096;
  }
}

template <class T>
void map(const Map& map, Index n, const T* x, T* y) {
  const T a = static_cast<T>(map.a), b = static_cast<T>(map.b), c = static_cast<T>(map.c);
  const auto each = [&](auto f) {
    SPARKNET_INDEPENDENT
    for (Index i = 0; i < n; ++i) y[i] = f(x[i]);
  };
  switch (map.kind) {
    case MapKind::Abs: return each([](T v) { return std::abs(v); });
    case MapKind::Affine: return each([=](T v) { return a * v + b; });
    case MapKind::Clip: return each([=](T v) { return v < a ? a : (v > b ? b : v); });
    case MapKind::Constant: std::fill_n(y, n, a); return;
    case MapKind::Elu: return each([=](T v) { return v > T(0) ? v : a * std::expm1(v); });
    case MapKind::Exp: return each([=](T v) { return std::exp(a * v + b); });
    case MapKind::Gelu: return each([](T v) { return T(0.5) * v * std::erfc(T(-kRootHalf) * v); });
    case MapKind::GeluTanh: return each([](T v) { return v * sigmoid(gelu_argument(v)); });
    case MapKind::Log: return each([=](T v) { return c * std::log(a * v + b); });
    case MapKind::Power:
      if (c == T(2)) return each([=](T v) { return (a * v + b) * (a * v + b); });
      return each([=](T v) { return std::pow(a * v + b, c); });
    case MapKind::Sigmoid: return each([](T v) { return sigmoid(v); });
    case MapKind::Softplus: return each([](T v) { return (v < T(0) ? T(0) : v) + std::log1p(std::exp(-std::abs(v))); });
    case MapKind::Step: return each([=](T v) { return v > a ? T(1) : T(0); });
    case MapKind::Swish: return each([=](T v) { return v * sigmoid(a * v); });
    case MapKind::Tanh: return each([](T v) { return hyperbolic_tangent(v); });
  }
}

template <class T>
void map_backward(const Map& map, Index n, const T* operand, const T* dy, T* dx) {
  const T a = static_cast<T>(map.a), b = static_cast<T>(map.b), c = static_cast<T>(map.c);
  const auto each = [&](auto slope) {
    SPARKNET_INDEPENDENT
    for (Index i = 0; i < n; ++i) dx[i] = dy[i] * slope(operand[i]);
  };
  switch (map.kind) {
    // Of nothing.
    case MapKind::Affine:
      for (Index i = 0; i < n; ++i) dx[i] = dy[i] * a;
      return;
    case MapKind::Constant:
    case MapKind::Step: std::fill_n(dx, n, T(0)); return;
    // Of y.
    case MapKind::Exp: return each([=](T y) { return a * y; });
    case MapKind::Sigmoid: return each([](T y) { return y * (T(1) - y); });
    case MapKind::Softplus: return each([](T y) { return -std::expm1(-y); });
    case MapKind::Tanh: return each([](T y) { return T(1) - y * y; });
    case MapKind::Elu:
      if (map.a >= 0) return each([=](T y) { return y > T(0) ? T(1) : y + a; });
      return each([=](T x) { return x > T(0) ? T(1) : a * std::exp(x); });
    // Of x.
    case MapKind::Abs: return each([](T x) { return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x); });
    case MapKind::Clip: return each([=](T x) { return x >= a && x <= b ? T(1) : T(0); });
    case MapKind::Gelu:
      return each([](T x) {
        return T(0.5) * std::erfc(T(-kRootHalf) * x) + x * T(kDensityOfZero) * std::exp(T(-0.5) * x * x);
      });
    case MapKind::GeluTanh:
      return each([](T x) {
        const T near = std::clamp(x, T(-32), T(32));  // beyond, nothing changes but that squares overflow
        const T du = T(2 * kRootTwoOverPi) * (T(1) + T(3 * kGeluCubic) * near * near);
        return gated_slope(near, sigmoid(gelu_argument(near)), du);
      });
    case MapKind::Log: return each([=](T x) { return a * c / (a * x + b); });
    case MapKind::Power:
      if (c == T(2)) return each([=](T x) { return T(2) * a * (a * x + b); });
      return each([=](T x) { return c * a * std::pow(a * x + b, c - T(1)); });
    case MapKind::Swish: return each([=](T x) { return gated_slope(x, sigmoid(a * x), a); });
  }
}

#define SPARKNET_MAP(T)                               \
  template void map(const Map&, Index, const T*, T*); \
  template void map_backward(const Map&, Index, const T*, const T*, T*);
SPARKNET_MAP(float)
SPARKNET_MAP(double)
#undef SPARKNET_MAP

}  // namespace sparknet::kernels::cpu
