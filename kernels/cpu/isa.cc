#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sparknet::kernels {

#if defined(__x86_64__)
namespace {

/// The parts of x86-64-v3 that __builtin_cpu_supports has no name for: F16C, MOVBE and LZCNT.
bool has_unnamed_v3() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const bool f16c_movbe = (c & (1u << 29)) && (c & (1u << 22));
  return f16c_movbe && __get_cpuid(0x80000001u, &a, &b, &c, &d) && (c & (1u << 5));
}

}  // namespace
#endif

Isa best_isa() {
#if defined(__x86_64__)
  // These look at what the system saves on a switch of threads, too.
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") &&
                  has_unnamed_v3();
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? Isa::V4 : v3 ? Isa::V3 : Isa::Portable;
#else
  return Isa::Portable;
#endif
}

namespace cpu {

const Hot& hot_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::V4) return hot_v4();
  if (isa == Isa::V3) return hot_v3();
#endif
  static_cast<void>(isa);
  return hot_portable();
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::V4: return "x86-64-v4";
    case Isa::V3: return "x86-64-v3";
    case Isa::Portable: break;
  }
  return "portable";
}

}  // namespace cpu
}  // namespace sparknet::kernels
