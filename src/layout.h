#pragma once

#include <vector>

#include "sparknet/weights.h"

namespace sparknet::detail {

/// Throws ShapeError, which names the first parameter that differs, where two layouts hold different parameters.
void require_same_layout(const std::vector<ParamInfo>& x, const std::vector<ParamInfo>& y);

}  // namespace sparknet::detail
