#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// Whether the convolution has a kernel of 1x1 and no padding.
bool is_pointwise(const ConvolutionShape& shape);
/// Whether it has so many positions that packing its weights for one pass pays.
bool is_wide(const ConvolutionShape& shape);

/// A convolution of single pixels: a matrix product over the pixels of all images.
std::unique_ptr<Linear> make_pointwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);
std::unique_ptr<PreparedLinear> make_prepared_pointwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);

}  // namespace sparknet::kernels::cpu
