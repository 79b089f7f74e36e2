#pragma once

#include <string>
#include <vector>

#include "sparknet/net.h"

namespace sparknet::caffe {

/// One of a layer's learned parameters, in the order in which the layer declares them.
struct NetBlob {
  /// In Net::params().
  std::size_t index;
  /// Whether the numbers belong to this layer, or to one before it with which it shares them.
  bool owned;
  /// Whether the shape may be another one of as many numbers.
  bool permissive;
};
struct NetLayerBlobs {
  const LayerParam* param;
  std::vector<NetBlob> blobs;
};

/// The layers that take part in the net, in order, those without parameters too.
std::vector<NetLayerBlobs> net_blobs(const Net& net);

/// The places in Net::params() of the net's parameters, each of them once: Caffe's learnable_params.
std::vector<std::size_t> learnable_params(const Net& net);

}  // namespace sparknet::caffe
