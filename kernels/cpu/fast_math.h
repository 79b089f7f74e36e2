#pragma once

// Exponentials whose f32 versions have no branches and no calls, so that loops over them become vectors; these are
// within 3 units in the last place. (Not for units with instructions of their own, see hot.h.)

#include <cmath>
#include <cstdint>
#include <cstring>

/// Before a loop whose iterations do not depend on one another, though its arrays may be the same.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"  // loops in f64 call the C library and stay as they are
#define SPARKNET_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define SPARKNET_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace sparknet::kernels::cpu {

/// e^x, but not below e^-86.5.
inline float exponential(float x) {
  const float bounded = x < -86.5F ? -86.5F : (x > 89.0F ? 89.0F : x);
  // Adding 1.5 * 2^23 rounds to a whole number, which is then in the low bits.
  constexpr float kMagic = 12582912.0F;
  const float shifted = bounded * 1.44269504F + kMagic;
  const float n = shifted - kMagic;
  const float r = (bounded - n * 0.693359375F) + n * 2.12194440e-4F;  // log(2) in two parts, the first of few bits
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  std::uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f000000U;  // 2^(n - 1), which is finite where e^x is
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return 2.0F * (p * r * r + r + 1.0F) * power;
}
inline double exponential(double x) {
  return std::exp(x);
}

/// 1 / (1 + e^-x). Where e^-x is infinite this is 0, as it should be.
template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + exponential(-x));
}

inline float hyperbolic_tangent(float x) {
  const float z = x * x;
  float p = -5.70498872745e-3F;
  p = p * z + 2.06390887954e-2F;
  p = p * z - 5.37397155531e-2F;
  p = p * z + 1.33314422036e-1F;
  p = p * z - 3.33332819422e-1F;
  const float near = p * z * x + x;
  const float far = 1.0F - 2.0F / (1.0F + exponential(2.0F * x));
  return z < 0.390625F ? near : far;
}
inline double hyperbolic_tangent(double x) {
  return std::tanh(x);
}

}  // namespace sparknet::kernels::cpu
