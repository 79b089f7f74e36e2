#pragma once

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// Whether make_pointwise() takes the convolution and is worth it: a kernel of 1x1 without padding, at enough positions
/// to pay for the packing of weights.
bool is_pointwise(const ConvolutionShape& shape);

/// A convolution of single pixels: a matrix product over the pixels of all images.
std::unique_ptr<Linear> make_pointwise(
    Engine& engine, DType dtype, const ConvolutionShape& shape, Activation activation);

}  // namespace sparknet::kernels::cpu
