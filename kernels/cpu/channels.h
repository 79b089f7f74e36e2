#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

std::unique_ptr<Channels> make_channels(Engine& engine, DType dtype, const ChannelShape& shape);

}  // namespace sparknet::kernels::cpu
