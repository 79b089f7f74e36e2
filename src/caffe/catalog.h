#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sparknet/net_param.h"
#include "src/caffe/proto.h"

namespace sparknet::caffe {

/// Caffe's names of the types that are known.
const std::vector<std::string>& known_types();
/// Caffe's name of a type of ours: "ReLU" of "ReLULayer", "Input" of "RDDLayer"; empty where it is none of them.
std::string_view caffes_type(std::string_view type);

/// A layer in today's form becomes a description. Throws BadInput with the reason.
LayerParam read_layer(const proto::LayerParameter& from, Where where);
/// The other way.
proto::LayerParameter write_layer(const LayerParam& layer);

}  // namespace sparknet::caffe
