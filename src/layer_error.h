#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sparknet/error.h"
#include "sparknet/net_param.h"

namespace sparknet {

/// "lenet.cc:12", or "" for a place that is not known.
std::string place(const Where& where);

/// One input of a layer as an error shows it.
struct InputNote {
  std::string name;
  Shape shape;
  Where where;
};

/// The error a layer gives: net, layer, type and `why`; where; then a line for each input with its shape and its line.
NetError layer_error(
    const std::string& net, const LayerParam& layer, std::string_view why, std::span<const InputNote> inputs = {},
    std::string_view last_line = {});

}  // namespace sparknet
