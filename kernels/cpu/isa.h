#pragma once

#include "kernels/cpu/hot.h"
#include "kernels/kernels.h"

namespace sparknet::kernels::cpu {

/// The inner loops for an instruction set, which is not above best_isa().
const Hot& hot_for(Isa isa);

/// Such as "x86-64-v4".
const char* isa_name(Isa isa);

}  // namespace sparknet::kernels::cpu
