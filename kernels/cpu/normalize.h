#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

std::unique_ptr<BatchNorm> make_batch_norm(Engine& engine, DType dtype, const ChannelShape& shape, double eps);
/// Channels of a width that is worth it; narrow ones, as behind inner products, are little work.
bool scales_batch_norm(const ChannelShape& shape);
std::unique_ptr<ScaledBatchNorm> make_scaled_batch_norm(
    Engine& engine, DType dtype, const ChannelShape& shape, double eps, Activation activation);
std::unique_ptr<LayerNorm> make_layer_norm(Engine& engine, DType dtype, const LayerNormShape& shape);

}  // namespace sparknet::kernels::cpu
