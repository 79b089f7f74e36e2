#pragma once

// What the layers share that apply one function to every element.

#include <memory>

#include "kernels/kernels.h"
#include "sparknet/layer.h"

namespace sparknet {

/// y = map(x). backward reads the least that it can do with.
std::unique_ptr<Layer> make_map(const kernels::Map& map);

/// The natural logarithm of an option .base, where -1 stands for e.
double log_of_base(double base);
/// Refuses a base that has no logarithm.
void require_base(double base);

}  // namespace sparknet
