#pragma once

#include "kernels/kernels.h"
#include "sparknet/layers/pooling.h"

namespace sparknet {

inline kernels::PoolMethod method_of(Pooling pooling) {
  switch (pooling) {
    case Pooling::Ave: return kernels::PoolMethod::Average;
    case Pooling::Stochastic: return kernels::PoolMethod::Stochastic;
    case Pooling::Max: break;
  }
  return kernels::PoolMethod::Max;
}

}  // namespace sparknet
