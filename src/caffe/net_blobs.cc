#include "src/caffe/net_blobs.h"

#include <algorithm>
#include <map>

namespace sparknet::caffe {
namespace {

/// Whether two names of the layout stand for the same numbers.
bool same_numbers(const ParamInfo& a, const ParamInfo& b) {
  return a.offset == b.offset && a.shape.count() == b.shape.count() && a.shape.count() > 0;
}

}  // namespace

std::vector<NetLayerBlobs> net_blobs(const Net& net) {
  const std::vector<ParamInfo>& params = net.params();
  std::map<std::string, std::size_t> named;  // parameters that may be shared
  std::vector<NetLayerBlobs> layers;
  const NetState state{net.options().phase};
  for (const LayerParam& layer : net.param().layers) {
    if (!layer.in(state)) continue;
    std::vector<std::size_t> own;
    for (std::size_t i = 0; i < params.size(); ++i)
      if (params[i].layer == layer.name()) own.push_back(i);

    NetLayerBlobs& result = layers.emplace_back(NetLayerBlobs{&layer, {}});
    const std::vector<ParamSpec>& specs = layer.extras().param;
    // What is shared with a layer before this one is no parameter of its own; the layout may name it again.
    for (std::size_t i = 0, next = 0;; ++i) {
      const ParamSpec spec = i < specs.size() ? specs[i] : ParamSpec{};
      const auto owner = spec.name.empty() ? named.end() : named.find(spec.name);
      if (owner != named.end()) {
        result.blobs.push_back({owner->second, false, spec.share_mode == ShareMode::Permissive});
        if (next < own.size() && same_numbers(params[own[next]], params[owner->second])) ++next;
      } else if (next < own.size()) {
        if (!spec.name.empty()) named[spec.name] = own[next];
        result.blobs.push_back({own[next++], true, false});
      } else {
        break;
      }
    }
  }
  return layers;
}

std::vector<std::size_t> learnable_params(const Net& net) {
  const std::vector<ParamInfo>& params = net.params();
  std::vector<std::size_t> learnable;
  for (std::size_t i = 0; i < params.size(); ++i)
    if (std::none_of(learnable.begin(), learnable.end(), [&](std::size_t j) {
          return same_numbers(params[i], params[j]);
        }))
      learnable.push_back(i);
  return learnable;
}

}  // namespace sparknet::caffe
