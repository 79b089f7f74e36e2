#include "src/caffe/net_blobs.h"

namespace sparknet::caffe {

std::vector<NetLayerBlobs> net_blobs(const Net& net) {
  const std::vector<ParamInfo>& params = net.params();
  std::vector<NetLayerBlobs> layers;
  for (const LayerParam& layer : net.param().layers) {
    if (!layer.in(net.options().state())) continue;
    NetLayerBlobs& result = layers.emplace_back(NetLayerBlobs{&layer, {}});
    for (std::size_t i = 0; i < params.size(); ++i)
      if (params[i].layer == layer.name()) result.blobs.push_back({i, true, params[i].shape});
    for (const SharedParam& shared : net.shared_params())  // in the order of their positions
      if (shared.layer == layer.name())
        result.blobs.insert(
            result.blobs.begin() + static_cast<std::ptrdiff_t>(shared.position),
            {shared.owner, false, shared.shape});
  }
  return layers;
}

}  // namespace sparknet::caffe
