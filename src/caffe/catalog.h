#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sparknet/net_param.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

/// Caffe's names of the types that are known.
const std::vector<std::string>& known_types();
/// Whether a type of ours, as "ReLULayer", is one of them.
bool knows(std::string_view type);

/// A layer in today's form becomes a description. Throws BadInput with the reason.
LayerParam read_layer(const proto::LayerParameter& from, Where where);
/// The other way.
proto::LayerParameter write_layer(const LayerParam& layer);

}  // namespace sparknet::caffe
