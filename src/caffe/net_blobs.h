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
  /// What it has in this layer.
  Shape shape;
};
struct NetLayerBlobs {
  const LayerParam* param;
  std::vector<NetBlob> blobs;
};

/// The layers that take part in the net, in order, those without parameters too.
std::vector<NetLayerBlobs> net_blobs(const Net& net);

}  // namespace sparknet::caffe
