#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

std::unique_ptr<BatchNorm> make_batch_norm(Engine& engine, DType dtype, const ChannelShape& shape, double eps);
std::unique_ptr<LayerNorm> make_layer_norm(Engine& engine, DType dtype, const LayerNormShape& shape);

}  // namespace sparknet::kernels::cpu
