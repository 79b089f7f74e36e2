#pragma once

#include <optional>

#include "kernels/cpu/engine.h"

namespace sparknet::kernels::cpu {

/// The form of minimal filtering for a convolution; none where there is no such form, or where plain products are
/// faster and `when` is not Always. There are forms for kernels of 3x3 and 5x5 without stride and dilation, whose
/// padding is smaller than they are.
std::optional<FilterForm> winograd_form(const ConvolutionShape& shape, Index lanes, Winograd when);
/// The same for a forward pass alone, whose weights are prepared.
std::optional<FilterForm> prepared_winograd_form(const ConvolutionShape& shape, Index lanes, Winograd when);

/// A convolution that multiplies once for each point of a tile of outputs instead of once for each tap of each output.
/// Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
/// Networks, 2016.
std::unique_ptr<Linear> make_winograd(
    Engine& engine, DType dtype, const ConvolutionShape& shape, FilterForm form, Activation activation);
std::unique_ptr<PreparedLinear> make_prepared_winograd(
    Engine& engine, DType dtype, const ConvolutionShape& shape, FilterForm form, Activation activation);

}  // namespace sparknet::kernels::cpu
